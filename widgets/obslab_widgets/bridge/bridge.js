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
  return Bokeh.version === version ? Bokeh : Bokeh[version];
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
