// One shown copy of the plot: a Bokeh document of its own that draws from the store, at most once an
// animation frame.

const RESIZE_MS = 250;
const SELECTS = /^(BoxSelect|LassoSelect|PolySelect|Tap)Tool$/;

class View {
  constructor(store, el, label, signal) {
    this.store = store;
    this.stale = new Set(); // ids of models whose values are not drawn yet
    this.movedRanges = new Set();
    this.edition = 0;
    this.document = null;
    this.figures = [];
    this.frames = 0;
    this.panel = new Panel(el, store, label, { reset: () => this.reset(), clear: () => this.clearSelection() });
    this.panel.plot.addEventListener("keydown", (event) => this.key(event));
    this.panel.plot.addEventListener("focusin", () => nameTabStops(this.mount));
    watchTheme(() => this.apply(() => this.repaintInTheme()), signal);
    store.add(this);
    signal.addEventListener("abort", () => this.remove());
  }

  remove() {
    this.removed = true;
    this.store.views.delete(this);
    cancelAnimationFrame(this.pending);
    clearTimeout(this.resizing);
    if (!this.building) discard(this.bokeh, this.document, this.bokehViews); // else `swap` does it when it is done
  }

  async start(bokeh) {
    this.bokeh = bokeh;
    this.draw();
    await this.building;
  }

  schedule() {
    this.pending ||= requestAnimationFrame(() => {
      this.pending = 0;
      this.draw();
    });
  }

  draw() {
    this.panel.refresh();
    if (!this.bokeh || this.removed) return;
    if (this.building || this.edition !== this.store.edition) this.building ??= this.rebuild();
    else this.apply(() => this.drawStale());
  }

  // Run `change` as the kernel's doing: what it does to a range is not a gesture of the user.
  apply(change) {
    this.applying = true;
    try {
      change();
    } catch (error) {
      this.panel.fail(error);
    } finally {
      this.applying = false;
    }
  }

  drawStale() {
    const ids = [...this.stale];
    this.stale.clear();
    for (const id of ids) {
      const model = this.document?.get_model_by_id(id);
      if (model) this.assign(model, this.store.valuesOf(id));
    }
    this.frames++;
  }

  // BokehJS paints half a pixel off the canvas's edge, so that the old colours would stay there as a line.
  repaintInTheme() {
    if (!this.document) return;
    for (const figure of this.figures) {
      const canvas = this.bokehViews?.find_one(figure)?.canvas_view?.primary?.el;
      if (canvas) canvas.width = canvas.width; // clears all of it
    }
    paintTheme(this.document);
  }

  assign(model, values) {
    const ready = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, this.toBokeh(value)]));
    if (model.type === "ColumnDataSource") {
      model.data = { ...model.data, ...ready };
      return;
    }
    if (model.type === "DataRange1d") model.have_updated_interactively = true; // or it follows the data again
    model.setv(ready);
  }

  toBokeh(value) {
    if (Array.isArray(value)) return value.map((item) => this.toBokeh(item));
    if (!value?.nd) return value;
    return this.bokeh.require("core/util/ndarray").ndarray(value.nd.buffer, value);
  }

  // The document

  async rebuild() {
    try {
      while (this.edition !== this.store.edition && !this.removed) await this.swap();
    } catch (error) {
      this.panel.fail(error);
    } finally {
      this.building = null;
    }
    this.schedule();
  }

  // The new plot is laid out behind the old one and takes its place when it is drawn: no jump.
  async swap() {
    this.edition = this.store.edition;
    const [oldDocument, oldViews, oldMount] = [this.document, this.bokehViews, this.mount];
    const mount = element("div", { class: "obslab-mount obslab-waiting" });
    this.panel.plot.append(mount);
    if (this.store.document) {
      const { Document } = this.bokeh.require("document");
      this.document = Document.from_json(JSON.parse(this.store.document));
      this.stale = new Set([...this.store.values.keys(), ...this.store.user.keys()]);
      this.findFigures();
      this.apply(() => {
        this.drawStale();
        paintTheme(this.document);
      });
      const { add_document_standalone: add } = this.bokeh.require("embed/standalone");
      this.bokehViews = await add(this.document, mount);
    }
    discard(this.bokeh, oldDocument, oldViews);
    oldMount?.remove();
    mount.classList.remove("obslab-waiting");
    this.mount = mount;
    if (this.removed) discard(this.bokeh, this.document, this.bokehViews);
    else this.connect();
  }

  findFigures() {
    this.figures = [...this.document._all_models.values()].filter((model) => model.type === "Figure");
    this.ranges = [...new Set(this.figures.flatMap((figure) => [figure.x_range, figure.y_range]))].filter(
      (range) => range.type !== "FactorRange",
    );
    this.home = new Map(this.ranges.map((range) => [range, { start: range.start, end: range.end }]));
    for (const figure of this.figures) {
      // BokehJS drops events without a word unless they are subscribed to.
      figure.subscribed_events = new Set([...figure.subscribed_events, "selectiongeometry", "reset"]);
    }
    this.lines = [...this.document._all_models.values()].filter((model) => model.type === "Span" && model.editable);
    this.selecting = this.figures.filter((figure) => figure.toolbar.tools.some((tool) => SELECTS.test(tool.type)));
    this.panel.clear.hidden = !this.selecting.length;
  }

  connect() {
    if (!this.document) return;
    this.document.on_event("selectiongeometry", (_, event) => {
      if (event.final) this.store.ask("select", name(event.origin), { geometry: event.geometry });
    });
    // BokehJS's own reset tool goes back to where the document began; live plots have moved on.
    this.document.on_event("reset", () => this.reset());
    for (const range of this.ranges) {
      for (const side of ["start", "end"]) range.properties[side].change.connect(() => this.rangeChanged(range));
    }
    for (const line of this.lines) line.properties.location.change.connect(() => this.lineMoved(line));
    for (const figure of this.figures) {
      for (const side of ["inner_width", "inner_height"]) {
        figure.properties[side].change.connect(() => this.tellSizes());
      }
    }
    this.tellSizes();
    nameTabStops(this.mount);
    setTimeout(() => nameTabStops(this.mount), 600); // tool buttons are rendered late
  }

  // Ranges

  rangeChanged(range) {
    if (this.applying) return;
    if (range.type === "DataRange1d" && !range.have_updated_interactively) return; // follows its data
    if (!this.movedRanges.size) queueMicrotask(() => this.tellRanges()); // start and end are one change
    this.movedRanges.add(range);
  }

  tellRanges() {
    const ranges = [...this.movedRanges];
    this.movedRanges.clear();
    if (!ranges.length || this.removed) return;
    this.store.moved("range", ranges, ["start", "end"], this);
    for (const figure of this.figures) {
      if (ranges.includes(figure.x_range) || ranges.includes(figure.y_range)) {
        this.store.ask("range", name(figure), limits(figure));
      }
    }
  }

  lineMoved(line) {
    if (this.applying) return;
    this.store.moved("drag", [line], ["location"], this);
    this.store.ask("drag", name(line), { at: line.location });
  }

  tellSizes() {
    clearTimeout(this.resizing);
    this.resizing = setTimeout(() => {
      for (const figure of this.figures) {
        if (figure.inner_width) this.store.ask("resize", name(figure), limits(figure));
      }
    }, RESIZE_MS);
  }

  reset() {
    this.movedRanges.clear();
    if (this.store.handled.has("reset")) {
      this.store.forgetMoves();
      for (const figure of this.figures) this.store.ask("reset", name(figure));
      return;
    }
    for (const view of this.store.views) view.resetAutoRanges();
    for (const range of this.ranges) {
      const { start, end } = { ...this.home.get(range), ...this.store.values.get(range.id) };
      if (range.type !== "DataRange1d") range.setv({ start, end });
    }
  }

  resetAutoRanges() {
    for (const range of this.ranges) {
      if (range.type !== "DataRange1d") continue;
      this.store.user.delete(range.id);
      range.reset();
    }
  }

  clearSelection() {
    for (const figure of this.selecting) {
      for (const { data_source } of figure.renderers) data_source?.selection_manager.clear();
      this.store.ask("select", name(figure), { geometry: null });
    }
  }

  // Keyboard

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.document) return;
    if (KEYS[event.key]) moveRanges(this.focusedViews(event), this.ranges, ...KEYS[event.key]);
    else if (event.key === "r") this.reset();
    else if (event.key === "Escape") this.clearSelection();
    else return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab has commands on the same keys
  }

  // The view of the figure that has the focus, or of all when it is on their frame.
  focusedViews(event) {
    const path = event.composedPath();
    const views = this.figures.map((figure) => this.bokehViews.find_one(figure));
    const inside = views.filter((view) => path.includes(view.el));
    return inside.length ? inside : views;
  }
}

// `Document.clear` alone is a leak: BokehJS keeps the document in a global list, and the view of its
// notifications in a global index.
function discard(bokeh, bokehDocument, bokehViews) {
  if (!bokehDocument) return;
  bokehViews?.clear();
  bokehDocument.clear();
  const at = bokeh.documents.indexOf(bokehDocument);
  if (at >= 0) bokeh.documents.splice(at, 1);
}

function name(model) {
  return model.name ?? model.id;
}

function limits(figure) {
  const { x_range, y_range, inner_width, inner_height } = figure;
  return {
    x0: x_range.start,
    x1: x_range.end,
    y0: y_range.start,
    y1: y_range.end,
    width: inner_width,
    height: inner_height,
  };
}
