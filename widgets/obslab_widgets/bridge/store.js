// The page's copy of the picture. There is one store for a widget model, and views only draw from it,
// so a second view is current at once, even while the kernel is blocked.

const PAGE = (globalThis.__obslab ??= {
  name: Math.random().toString(36).slice(2, 10),
  libraries: {},
  stores: new Set(),
});
const ACK_MS = 3000;
const BUSY_MS = 600;
const PATIENCE_MS = 5000;

const ARRAYS = {
  uint8: Uint8Array,
  int8: Int8Array,
  uint16: Uint16Array,
  int16: Int16Array,
  uint32: Uint32Array,
  int32: Int32Array,
  float32: Float32Array,
  float64: Float64Array,
};

// Copies out: message buffers are unaligned, and a view of one would keep the whole message alive.
function unpack(value, buffers) {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map((item) => unpack(item, buffers));
  if ("$" in value) {
    const bytes = buffers[value.$];
    const copy = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
    const array = new ARRAYS[value.d](copy);
    return value.s.length > 1 ? { nd: array, dtype: value.d, shape: value.s } : array;
  }
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unpack(item, buffers)]));
}

class Store {
  constructor(model) {
    this.model = model;
    this.views = new Set();
    this.seq = -1;
    this.frames = this.gaps = 0;
    this.edition = 0; // counts the documents shown
    this.document = null;
    this.values = new Map(); // model id -> what the kernel put
    this.user = new Map(); // id of a range or a line -> where the user moved it since
    this.held = new Set(); // those the user moved and the kernel has not heard of yet
    this.errors = {};
    this.parts = {};
    this.handled = new Set();
    this.link = "ok";
    this.frameAt = performance.now();
    this.ackAt = 0;
    this.waiting = 0; // number of the unanswered question, 0 for none
    this.question = 0;
    this.patience = PATIENCE_MS;
    this.outbox = new Map(); // latest event of each name and figure, not yet sent
    this.sent = [];
  }

  listen() {
    const takeSnap = () => {
      const snap = this.model.get("snap");
      if (snap) this.take(JSON.parse(snap.head), snap.buffers);
    };
    takeSnap();
    this.model.on("change:snap", takeSnap); // ipywidgets asks again when the page reconnects
    this.model.on("msg:custom", (head, buffers) => {
      if (head.k === "frame") this.take(head, buffers);
    });
    const clock = setInterval(() => this.refresh(), 1000);
    const unwatch = this.watchKernel();
    PAGE.stores.add(this);
    return () => {
      clearInterval(clock);
      clearTimeout(this.timer);
      unwatch();
      PAGE.stores.delete(this);
    };
  }

  watchKernel() {
    const kernel = this.model.widget_manager?.kernel;
    if (!kernel) return () => {};
    const look = () => {
      const before = this.link;
      const gone = kernel.status === "dead" || /restarting$/.test(kernel.status);
      // A restarted kernel does not know this widget, so "gone" is for good.
      if (gone || before === "gone") this.link = "gone";
      else this.link = kernel.connectionStatus === "connected" ? "ok" : "off";
      if (before === "off" && this.link === "ok") this.reconnect();
      this.refresh();
    };
    kernel.connectionStatusChanged.connect(look);
    kernel.statusChanged.connect(look);
    return () => {
      kernel.connectionStatusChanged.disconnect(look);
      kernel.statusChanged.disconnect(look);
    };
  }

  reconnect() {
    this.send({ k: "sync" });
    this.retry();
  }

  send(message) {
    try {
      this.model.send(message);
    } catch {
      this.link = "gone";
      this.refresh();
    }
  }

  // Frames from the kernel

  take(head, buffers) {
    if (head.whole ? head.seq < this.seq : head.seq <= this.seq) return;
    if (!head.whole && (head.edition !== this.edition || head.seq !== this.seq + 1)) {
      this.gaps++;
      this.send({ k: "sync" });
      if (head.edition !== this.edition) return; // says nothing about the document we have
    }
    if (head.whole && (head.edition !== this.edition || this.seq < 0)) this.open(head);
    this.seq = head.seq;
    this.frames++;
    this.frameAt = performance.now();
    this.errors = head.errors;
    this.parts = head.parts ?? this.parts;
    this.listenTo(head.handled);
    this.hearAnswer(head);
    for (const [id, values] of Object.entries(head.models)) this.accept(id, unpack(values, buffers), head.whole);
    this.acknowledge();
    for (const view of this.views) view.schedule();
  }

  open(head) {
    this.edition = head.edition;
    this.document = head.document;
    this.values.clear();
    this.user.clear();
    this.held.clear();
  }

  accept(id, values, whole) {
    const old = this.values.get(id);
    this.values.set(id, { ...old, ...values });
    // The kernel does not know of the gesture yet, so this is about the time before it.
    if (this.held.has(id)) return;
    // A repeated frame repeats old ranges: they do not undo what the user did since.
    const moved = this.user.get(id);
    if (whole && moved && Object.keys(moved).every((name) => old?.[name] === values[name])) return;
    this.user.delete(id);
    for (const view of this.views) view.stale.add(id);
  }

  valuesOf(id) {
    return { ...this.values.get(id), ...this.user.get(id) };
  }

  // A cell that was run again leaves its old widget without a view: unanswered, the kernel stops drawing it.
  acknowledge() {
    if (!this.views.size) return;
    const now = performance.now();
    if (now - this.ackAt < ACK_MS) return;
    this.ackAt = now;
    this.send({ k: "ack" });
  }

  add(view) {
    if (!this.views.size && this.seq >= 0) this.send({ k: "sync" });
    this.views.add(view);
  }

  // Questions to the kernel: one at a time, of several waiting the latest wins

  listenTo(names) {
    const before = this.handled;
    this.handled = new Set(names);
    if (this.handled.has("resize") && !before.has("resize")) for (const view of this.views) view.tellSizes();
  }

  ask(name, on, data = {}) {
    if (!this.handled.has(name)) return;
    this.outbox.set(`${name} ${on}`, { name, on, ...data });
    this.post();
  }

  post() {
    if (this.waiting || !this.outbox.size) return;
    this.sent = [...this.outbox.entries()];
    this.outbox.clear();
    this.waiting = ++this.question;
    this.askedAt ??= performance.now();
    const events = this.sent.map(([, event]) => event);
    this.send({ k: "events", page: PAGE.name, question: this.waiting, events });
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.retry(), this.patience);
    this.patience = Math.min(2 * this.patience, 60000); // a busy kernel is not helped by repetition
  }

  // A lost question or reply must not leave the page mute.
  retry() {
    if (!this.waiting) return;
    this.waiting = 0;
    for (const [key, event] of this.sent) if (!this.outbox.has(key)) this.outbox.set(key, event);
    this.post();
  }

  hearAnswer(head) {
    if (!this.waiting) return;
    if ((head.answered[PAGE.name] ?? 0) < this.waiting) {
      if (head.whole) this.retry();
      return;
    }
    this.waiting = 0;
    this.askedAt = null;
    this.patience = PATIENCE_MS;
    clearTimeout(this.timer);
    if (!this.outbox.size) this.held.clear();
    this.post();
  }

  // What the user did to ranges ("range") and lines ("drag")

  moved(event, models, names, from) {
    for (const model of models) {
      const id = model.id;
      this.user.set(id, Object.fromEntries(names.map((name) => [name, model[name]])));
      if (this.handled.has(event)) this.held.add(id);
      for (const view of this.views) if (view !== from) view.stale.add(id);
    }
    for (const view of this.views) if (view !== from) view.schedule();
  }

  forgetMoves() {
    this.user.clear();
    this.held.clear();
    for (const key of [...this.outbox.keys()]) if (key.startsWith("range ")) this.outbox.delete(key);
  }

  // [level, text] of the status bar: trouble with the kernel wins over what the kernel says.
  status() {
    const now = performance.now();
    if (this.link === "gone") return ["off", "kernel gone: run the cell again"];
    if (this.link === "off") return ["off", "disconnected: not live"];
    if (this.waiting && now - this.askedAt > BUSY_MS) return ["busy", "kernel busy: will answer when free"];
    const { level, text } = this.parts.status ?? { level: "", text: "" };
    const age = Math.floor((now - this.frameAt) / 1000);
    return level === "ok" && age >= 5 ? ["busy", `last update ${age} s ago`] : [level, text];
  }

  refresh() {
    for (const view of this.views) view.panel.refresh();
  }
}
