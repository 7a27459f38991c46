// The entry: anywidget calls the factory once for a model, `initialize` once and `render` for each view.

// From the kernel's wheel, once for a page and version. Another library may have brought another
// BokehJS, which then keeps the global name, and ours is found under its version.
async function loadBokeh(model) {
  const id = model.get("library").slice("IPY_MODEL_".length);
  const library = await model.widget_manager.get_model(id);
  const version = library.get("version");
  return (PAGE.libraries[version] ??= runScripts(library.get("scripts"), version));
}

async function runScripts(scripts, version) {
  for (const gzipped of scripts) {
    const stream = new Blob([gzipped]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = element("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
    script.remove();
  }
  const { Bokeh } = globalThis;
  const bokeh = Bokeh.version === version ? Bokeh : Bokeh[version];
  mendLeak(bokeh);
  mendHesitation(bokeh);
  mendLines(bokeh);
  return bokeh;
}

// After 0.3 s of rest BokehJS takes a mouse button for a long press, and pulls nothing any more. But people
// aim before they pull a line, pages are slow now and then, and nothing here has a use for a long press.
function mendHesitation(bokeh) {
  const { UIGestures } = bokeh.require("core/ui_gestures");
  if (UIGestures) UIGestures.press_threshold = 1e9; // ms
}

// A plot adds a listener to the visual viewport that BokehJS 3.9 never removes, so each plot ever shown
// stays in memory with its data (0.6 MB for two figures of 500 samples) until the page is left.
function mendLeak(bokeh) {
  const { PlotView } = bokeh.require("models/plots/plot_canvas");
  if (!globalThis.visualViewport || !PlotView) return;
  const { connect_signals, remove } = PlotView.prototype;
  PlotView.prototype.connect_signals = function () {
    const listening = (this.obslabListening = new AbortController());
    visualViewport.addEventListener = (type, listener) =>
      EventTarget.prototype.addEventListener.call(visualViewport, type, listener, { signal: listening.signal });
    try {
      connect_signals.call(this);
    } finally {
      delete visualViewport.addEventListener;
    }
  };
  PlotView.prototype.remove = function () {
    this.obslabListening?.abort();
    remove.call(this);
  };
}

// BokehJS 3.9 tests an editable Span as a line askew, by its width off at the far end, so that a broad one is
// not met where it is seen; and it fails on one that was never painted.
function mendLines(bokeh) {
  const { SpanView } = bokeh.require("models/annotations/span");
  if (!SpanView) return;
  const { _paint, interactive_hit } = SpanView.prototype;
  SpanView.prototype._paint = function (context) {
    _paint.call(this, context);
    const side = this.model.dimension === "width" ? "y" : "x";
    if (this.line) this.line.p1[side] = this.line.p0[side];
  };
  SpanView.prototype.interactive_hit = function (sx, sy) {
    return this.line !== undefined && interactive_hit.call(this, sx, sy);
  };
}

export default () => {
  let store;
  return {
    initialize({ model }) {
      // Must return at once: anywidget gives a model up for good after 2 s. BokehJS loads in `render`.
      store = new Store(model);
      return store.listen();
    },
    async render({ model, el, signal }) {
      const view = new View(store, el, model.get("label"), signal);
      try {
        await view.start(await loadBokeh(model));
      } catch (error) {
        view.panel.fail(error);
      }
    },
  };
};
