// Keyboard and screen reader: BokehJS pans by mouse only, names none of its tab stops and draws no
// focus ring.

const KEYS_HELP = "arrow keys pan, plus and minus zoom, R resets the view, Escape clears the selection";
// key -> right, up (as fractions of what is seen), zoom
const KEYS = {
  ArrowLeft: [-0.1, 0, 1],
  ArrowRight: [0.1, 0, 1],
  ArrowUp: [0, 0.1, 1],
  ArrowDown: [0, -0.1, 1],
  "+": [0, 0, 0.8],
  "-": [0, 0, 1.25],
};

// In screen space, so that logarithmic axes move evenly.
function moveRanges(figureViews, ranges, right, up, zoom) {
  const steps = new Map(); // figures may share a range, which must move once
  for (const { model, frame } of figureViews) {
    steps.set(model.x_range, [frame.x_scale, right]).set(model.y_range, [frame.y_scale, up]);
  }
  for (const [range, [scale, by]] of steps) {
    if (!ranges.includes(range)) continue;
    const [start, end] = [scale.compute(range.start), scale.compute(range.end)];
    const [middle, half] = [(start + end) / 2 + by * (end - start), (zoom * (end - start)) / 2];
    range.have_updated_interactively = true;
    range.setv({ start: scale.invert(middle - half), end: scale.invert(middle + half) });
  }
}

function nameTabStops(root) {
  for (const node of root?.querySelectorAll("*") ?? []) {
    if (node.shadowRoot) {
      styleBokeh(node.shadowRoot);
      nameTabStops(node.shadowRoot);
    }
    if (node.tabIndex === 0 && !node.hasAttribute("aria-label")) nameTabStop(node);
  }
}

function nameTabStop(node) {
  const isPlot = /events/.test(node.className);
  node.setAttribute("role", isPlot ? "img" : "button");
  node.setAttribute("aria-label", isPlot ? `plot area: ${KEYS_HELP}` : node.title || "Bokeh tool");
  if (isPlot) return;
  node.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    node.click();
    event.preventDefault();
    event.stopPropagation();
  });
}

// Adopted by Bokeh's shadow roots, which no style of the page reaches.
const BOKEH_STYLE = new CSSStyleSheet();
BOKEH_STYLE.replaceSync(`
  .bk-divider { background-color: var(--jp-border-color2, #ddd) !important; }
  :focus-visible, :host(:focus-visible) {
    outline: 2px solid var(--jp-brand-color1, #1976d2) !important;
    outline-offset: -2px;
  }`);

function styleBokeh(shadow) {
  if (!shadow.adoptedStyleSheets.includes(BOKEH_STYLE)) shadow.adoptedStyleSheets.push(BOKEH_STYLE);
}
