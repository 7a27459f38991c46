// Bokeh paints on a canvas, where CSS does not reach: the page's colours are set as model properties.

function themeColors() {
  const css = getComputedStyle(document.body);
  const dark = !css.getPropertyValue("--jp-layout-color0") && matchMedia("(prefers-color-scheme: dark)").matches;
  const pick = (name, light, night) => css.getPropertyValue(name).trim() || (dark ? night : light);
  return {
    text: pick("--jp-ui-font-color1", "#222", "#ddd"),
    soft: pick("--jp-border-color2", "#ddd", "#444"),
    paper: pick("--jp-layout-color0", "#fff", "#111"),
  };
}

// What each kind of model is given; properties that a model does not have are skipped.
function themedProperties(type, { text, soft, paper }) {
  if (/^(Figure|GridPlot|Plot)$/.test(type)) {
    return { background_fill_color: paper, border_fill_color: paper, outline_line_color: soft };
  }
  if (/Axis$/.test(type)) {
    return {
      axis_label_text_color: text,
      major_label_text_color: text,
      axis_line_color: text,
      major_tick_line_color: text,
      minor_tick_line_color: text,
    };
  }
  if (type === "Grid") return { grid_line_color: soft };
  if (type === "Title") return { text_color: text };
  if (type === "Legend") {
    return { background_fill_color: paper, border_line_color: soft, label_text_color: text, title_text_color: text };
  }
  if (type === "ColorBar") {
    return { background_fill_color: paper, major_label_text_color: text, title_text_color: text };
  }
  return {};
}

function paintTheme(bokehDocument) {
  const colors = themeColors();
  for (const model of bokehDocument._all_models.values()) {
    const wanted = Object.entries(themedProperties(model.type, colors));
    model.setv(Object.fromEntries(wanted.filter(([name]) => name in model.properties)));
  }
}

// JupyterLab marks its theme on the body; elsewhere the system's preference counts.
function watchTheme(repaint, signal) {
  const observer = new MutationObserver(repaint);
  observer.observe(document.body, { attributeFilter: ["data-jp-theme-light", "data-jp-theme-name"] });
  signal.addEventListener("abort", () => observer.disconnect());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint, { signal });
}
