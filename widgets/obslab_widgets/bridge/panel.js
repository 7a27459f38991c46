// What surrounds the plot: the error over it, the bar and the table below it. All text from the kernel
// goes through textContent, since labels and error messages may hold anything.

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function setText(node, value) {
  const text = String(value);
  if (node.textContent !== text) node.textContent = text;
}

// Text, or a button {button, name, label}, or a bar {share, label}.
function setCell(cell, value, press) {
  if (cell.given === value) return;
  cell.given = value;
  let part = cell.firstElementChild;
  const tag = "button" in Object(value) ? "button" : "share" in Object(value) ? "progress" : "";
  if ((part?.localName ?? "") !== tag) {
    part = tag && element(tag, { class: `obslab-cell-${tag}` });
    cell.replaceChildren(...(part ? [part] : []));
    if (tag === "button") {
      part.type = "button";
      part.addEventListener("click", () => {
        part.disabled = true; // until the kernel says what became of it
        press(cell.given.name);
      });
    }
  }
  if (!part) {
    cell.title = String(value).length > 24 ? value : "";
    return setText(cell, value);
  }
  part.setAttribute("aria-label", value.label);
  part.title = tag === "progress" ? `${Math.round(100 * value.share)} %` : value.label;
  if (tag === "progress") part.value = value.share;
  else setText(part, value.button);
  part.disabled = false;
}

class Panel {
  constructor(el, store, label, actions) {
    this.store = store;
    this.label = label;
    this.fault = ""; // the browser's own error
    this.dismissed = "";
    this.plot = element("div", { class: "obslab-plot", tabindex: 0, role: "application" });
    this.plot.setAttribute("aria-label", `${label}: ${KEYS_HELP}`);
    this.message = element("pre", { role: "alert" });
    this.close = element("button", { type: "button", "aria-label": "Close the error message" }, "×");
    this.alert = element("div", { class: "obslab-alert", hidden: "" }, this.message, this.close);
    this.reset = element("button", { type: "button" }, "Reset view");
    this.clear = element("button", { type: "button", hidden: "" }, "Clear selection");
    this.dot = element("span", { class: "obslab-dot", "aria-hidden": "true" });
    // Its text may change ten times a second, so it is not announced; changes of level are.
    this.text = element("span", { class: "obslab-status", role: "status", "aria-live": "off" });
    this.announcer = element("span", { class: "obslab-unseen", "aria-live": "polite" });
    this.table = element("div", { class: "obslab-table", hidden: "", tabindex: 0, role: "region" });
    this.table.setAttribute("aria-label", `${label}: table`);

    const buttons = element("div", { class: "obslab-buttons", role: "toolbar" }, this.reset, this.clear);
    buttons.setAttribute("aria-label", "plot controls");
    el.classList.add("obslab");
    el.setAttribute("role", "group");
    el.setAttribute("aria-label", label);
    el.replaceChildren(
      element("div", { class: "obslab-stage" }, this.plot, this.alert),
      element("div", { class: "obslab-bar" }, buttons, this.dot, this.text, this.announcer),
      this.table,
    );
    this.reset.addEventListener("click", actions.reset);
    this.clear.addEventListener("click", actions.clear);
    this.close.addEventListener("click", () => {
      this.dismissed = this.message.textContent;
      this.refresh();
      this.plot.focus();
    });
  }

  fail(error) {
    console.error(error);
    this.fault = `browser: ${error?.stack ?? error}`;
    this.refresh();
  }

  refresh() {
    this.plot.hidden = this.reset.hidden = !this.store.document; // a widget may have a table only
    this.refreshStatus();
    this.refreshAlert();
    this.refreshTable();
  }

  refreshStatus() {
    const [level, text] = this.store.status();
    setText(this.text, text);
    this.text.title = text; // the whole of it, where the bar is too narrow
    if (this.dot.dataset.level === level) return;
    this.dot.dataset.level = this.text.dataset.level = level;
    setText(this.announcer, text);
  }

  refreshAlert() {
    const told = Object.entries(this.store.errors).map(([where, message]) => `${where}: ${message}`);
    const all = [this.fault, ...told].filter(Boolean).join("\n\n");
    if (all !== this.dismissed) this.dismissed = "";
    const shown = this.dismissed ? "" : all;
    this.alert.hidden = !shown;
    setText(this.message, shown || (this.dismissed && this.message.textContent));
  }

  refreshTable() {
    const { columns, rows } = this.store.parts.table ?? { columns: [], rows: [] };
    const isNumber = columns.map((_, j) => rows.some((row) => typeof row[j] === "number"));
    const shape = JSON.stringify([columns, rows.length, isNumber]);
    if (shape !== this.shape) this.buildTable(columns, rows.length, isNumber);
    this.shape = shape;
    this.table.hidden = !columns.length;
    const press = (name) => this.store.ask("press", name);
    rows.forEach((row, i) => row.forEach((value, j) => setCell(this.cells[i][j], value ?? "–", press)));
  }

  buildTable(columns, length, isNumber) {
    const align = (j) => (isNumber[j] ? { class: "obslab-number" } : {});
    const heads = columns.map((name, j) => element("th", { scope: "col", ...align(j) }, name));
    this.cells = Array.from({ length }, () => columns.map((_, j) => element("td", align(j))));
    this.table.replaceChildren(
      element(
        "table",
        {},
        element("caption", { class: "obslab-unseen" }, `${this.label}: table`),
        element("thead", {}, element("tr", {}, ...heads)),
        element("tbody", {}, ...this.cells.map((cells) => element("tr", {}, ...cells))),
      ),
    );
  }
}
