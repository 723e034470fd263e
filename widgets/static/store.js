// The data behind the views of one model: planes, statistics, the photo, and the way to the kernel for more.
import { COLOUR_MAPS } from "./colour_maps.js";
import { PlaneCache, cell, colourMap, pictureTable, similarity, unpack } from "./core.js";
import { MASK_AS } from "./mask.js";
import { channelOrder, layerOf, transition } from "./look.js";

export const LOOK = [
  "layer",
  "channel",
  "channels",
  "pin",
  "colormap",
  "range",
  "limits",
  "opacity",
  "sort",
  "zoom",
  "ablated",
  "mask_as",
  "threshold",
  "ground",
];
// Of views that were saved before these existed.
const UNSAID = { mask_as: MASK_AS[0], threshold: 0.5, ground: "checker" };

const REACTS = ["pin", "layer", "ablated"];
const MESSAGE_BYTES = 2 ** 21;
const PREFETCH_BYTES = 2 ** 24;
const PATIENCE_MS = 20_000;
const PAUSE_MS = 120;
const LATEST_MS = 1000;

const stores = new WeakMap();
export function storeOf(model) {
  if (!stores.has(model)) stores.set(model, new Store(model));
  return stores.get(model);
}

class Store {
  constructor(model) {
    this.model = model;
    this.scene = model.get("scene");
    this.look = Object.fromEntries(LOOK.map((name) => [name, model.get(name) ?? UNSAID[name]]));
    this.cache = new PlaneCache();
    this.statistics = new Map();
    this.alike = false;
    this.colours = new Map(Object.keys(COLOUR_MAPS).map((name) => [name, colourMap(name)]));
    this.colours.set("picture", pictureTable());
    this.photo = null;
    this.photos = new Map();
    this.photoParts = new Map();
    this.hover = null;
    this.problem = "";
    this.broken = "";
    this.waiting = 0;
    this.draft = null;
    this.before = new Map(); // maps of the photo before it was painted on
    this.wipe = 0;
    this.asked = new Map();
    this.refused = new Set();
    this.orders = new Map();
    this.listeners = new Set();
    this.live = model.get("live") !== false;
    model.on("msg:custom", (message, buffers) => this.guard(() => this.receive(message, buffers)));
    model.on("change:scene", () => {
      this.scene = model.get("scene");
      this.tell("scene");
    });
    model.on("change:blob", () => this.guard(() => this.open()));
    for (const name of ["error", "marks", "table", "controls", "stale", "league", "strokes", "progress"])
      model.on(`change:${name}`, () => this.tell(name));
    model.on("change:busy", () => {
      if (!model.get("busy")) this.waiting = 0;
      if (!model.get("busy") && this.unsaved) this.save();
      this.tell("busy");
    });
    model.on("change:live", () => {
      this.live = model.get("live") !== false;
      this.waiting = 0;
      this.orders.clear();
      this.tell("scene");
    });
    // The notebook says that the kernel is gone: restarted, stopped, or lost.
    model.on("comm_live_update", () =>
      this.loseKernel("The kernel that made this view is gone. Its maps stay; run the cell again to compute more."),
    );
    for (const name of LOOK) model.on(`change:${name}`, () => this.readLook(name));
    try {
      if (!this.open()) this.send({ type: "hello" });
    } catch (error) {
      this.fail(error, true);
    }
  }

  // Takes what the widget brought along, if it brought something.
  open() {
    const blob = this.model.get("blob");
    if (!blob?.byteLength) return false;
    this.scene = this.model.get("scene");
    for (const layer of this.scene.layers) this.cache.drop(layer.name);
    this.take(this.model.get("parts"), blob);
    this.send({ type: "received" });
    return true;
  }

  // Runs something that may fail, and shows the failure in the view instead of a blank cell.
  guard(task) {
    try {
      return task();
    } catch (error) {
      this.fail(error);
      return undefined;
    }
  }
  fail(error, lasting = false) {
    const text = error?.message || String(error);
    if (lasting) this.broken = text;
    else this.problem = text;
    console.error(error);
    this.tell("error");
  }
  tell(what) {
    for (const listener of this.listeners) listener(what);
  }
  send(message) {
    if (this.live) this.model.send(message);
  }

  get ready() {
    return this.statistics.size === this.scene.layers.length;
  }

  take(parts, buffer) {
    for (const part of unpack(parts, buffer)) {
      if (part.kind === "plane") {
        this.cache.put(part, (layer, channel) => this.shown(layer, channel));
        this.asked.delete(PlaneCache.key(part.layer, part.channel));
      } else if (part.kind === "statistics") {
        this.statistics.set(part.layer, part.values);
        this.orders.delete(part.layer);
      } else if (part.kind === "photo") {
        this.photoParts.set(part.name ?? "", part);
        this.decode(part);
      }
    }
    this.tell("data");
  }

  // The layers side by side: a pair that was chosen, or those that belong to the one in focus.
  get group() {
    const { layer } = this.look;
    return this.pair?.includes(layer) ? this.pair : (layerOf(this.scene, layer).group ?? [layer]);
  }

  // Maps on show stay, whatever comes in.
  shown(layer, channel) {
    return (this.look.channels[layer] ?? 0) === channel || (layer === this.look.layer && channel === this.look.channel);
  }

  async decode(part) {
    try {
      const bitmap = await createImageBitmap(new Blob([part.bytes], { type: part.type }));
      const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(bitmap, 0, 0);
      const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
      const photo = { width: bitmap.width, height: bitmap.height, rgba: data, pixels: new Uint32Array(data.buffer) };
      if (part.name) this.photos.set(part.name, photo);
      else this.photo = photo;
      bitmap.close();
      this.tell("data");
    } catch (error) {
      this.fail(new Error(`The photo cannot be shown: ${error.message}`), true);
    }
  }

  receive(message, buffers) {
    if (message.type === "parts") {
      if (message.renewed) this.keepBefore(message.layers);
      for (const layer of message.replaced ?? []) this.cache.drop(layer);
      for (const layer of message.layers ?? []) {
        const known = layerOf(this.scene, layer.name);
        if (known) Object.assign(known, layer);
        else this.scene.layers.push(layer);
      }
      if (message.problem) this.problem = message.problem;
      for (const [layer, channel] of message.refused ?? []) {
        this.refused.add(PlaneCache.key(layer, channel));
        this.asked.delete(PlaneCache.key(layer, channel));
      }
      if (message.parts?.length) this.take(message.parts, buffers[0]);
      this.tell("data");
      if (message.problem) this.tell("error");
    }
  }

  // Another photo comes in: what the page holds of the first one is kept, to be wiped over it.
  keepBefore(layers) {
    if (!this.before.size) {
      this.before = new Map(this.cache.planes);
      this.photoBefore = this.photo;
    }
    const names = new Set(layers.map(({ name }) => name));
    this.scene.layers = this.scene.layers.filter(({ name }) => names.has(name));
    for (const name of this.statistics.keys()) if (!names.has(name)) this.statistics.delete(name);
    if (!names.has(this.look.layer))
      this.look = transition(this.scene, this.look, { type: "layer", layer: this.scene.focus });
  }

  // A stroke of the brush, or all that are left after an undo: the kernel paints them and sends new maps.
  paint(strokes) {
    this.model.set("strokes", strokes);
    this.expectAnswer(true);
    this.save();
    this.tell("look");
  }

  order(name, sort = this.look.sort) {
    const known = this.orders.get(name) ?? {};
    if (!known[sort]) {
      const all = channelOrder(layerOf(this.scene, name), this.statistics.get(name), sort);
      // Without a kernel, only what the page holds can be chosen.
      known[sort] = this.live ? all : all.filter((channel) => this.cache.has(name, channel));
    }
    this.orders.set(name, known);
    return known[sort];
  }

  channelOf(name) {
    // In a film all maps show the same step.
    if (this.scene.linked) return Math.min(this.look.channel, layerOf(this.scene, name).channels - 1);
    return name === this.look.layer ? this.look.channel : (this.look.channels[name] ?? 0);
  }

  // The plane, or undefined after asking the kernel for it.
  plane(name, channel = this.channelOf(name)) {
    const plane = this.cache.get(name, channel);
    if (!plane) this.ask(name, [channel], true);
    return plane;
  }

  missing(name, channel) {
    return !this.live || this.refused.has(PlaneCache.key(name, channel));
  }

  // `compute`: also channels that cost a new run of the model.
  ask(name, channels, compute) {
    if (!this.live) return;
    const layer = layerOf(this.scene, name);
    const now = Date.now();
    const wanted = channels.filter((channel) => {
      const key = PlaneCache.key(name, channel);
      const asked = this.asked.get(key);
      if (this.cache.has(name, channel) || (this.refused.has(key) && !compute)) return false;
      return !asked || (compute && !asked.compute);
    });
    if (!wanted.length) return;
    for (const channel of wanted) this.asked.set(PlaneCache.key(name, channel), { compute, at: now });
    const each = Math.max(1, Math.floor(MESSAGE_BYTES / (2 * layer.width * layer.height)));
    for (let i = 0; i < wanted.length; i += each) {
      this.send({ type: "planes", layer: name, channels: wanted.slice(i, i + each), compute });
    }
    if (compute)
      setTimeout(() => this.checkPatience(wanted.map((channel) => PlaneCache.key(name, channel))), PATIENCE_MS);
  }
  checkPatience(keys) {
    const late = keys.filter((key) => this.asked.has(key));
    if (!late.length || this.model.get("busy")) return;
    for (const key of late) this.asked.delete(key);
    this.problem =
      "The kernel does not answer. What is already here can still be looked at; run the cell again for the rest.";
    this.tell("error");
  }

  // How alike every cell of a layer is to the pinned one, from the channels that the page holds.
  similarityOf(name) {
    const { image } = this.scene;
    const { pin } = this.look;
    const layer = layerOf(this.scene, name);
    const planes = [...this.cache.planes.values()].filter((plane) => plane.layer === name);
    if (pin.length !== 2 || planes.length < 2 || layer.kind === "colour") return null;
    const at = cell(pin[1], image.height, layer.height) * layer.width + cell(pin[0], image.width, layer.width);
    const key = `${name} ${at} ${planes.length}`;
    if (this.similar?.key !== key)
      this.similar = { ...similarity(planes, at), layer: name, channel: 0, alike: planes.length, key };
    return this.similar;
  }

  // The channels an atlas shows first, while they are cheap to have.
  prefetch(name, count) {
    const layer = layerOf(this.scene, name);
    const most = Math.min(count, Math.max(1, Math.floor(PREFETCH_BYTES / (2 * layer.width * layer.height))));
    this.ask(name, this.order(name).slice(0, most), false);
  }

  loseKernel(text) {
    this.live = false;
    this.lost = text;
    this.waiting = 0;
    this.orders.clear();
    this.tell("scene");
  }

  // From a gesture until the kernel's answer, what the kernel computes is out of date.
  expectAnswer(always = false) {
    if (!(always || this.scene.reacts) || !this.live) return;
    const asked = (this.waiting = Date.now());
    setTimeout(() => {
      if (this.waiting !== asked || this.model.get("busy")) return;
      this.problem =
        "The kernel has not answered yet. It may be busy with another cell; if it was restarted, run this cell again.";
      this.tell("error");
    }, PATIENCE_MS);
  }

  // Some views compute in the kernel what a pin shows. Without one their pin stays where its results belong.
  get resting() {
    return Boolean(this.scene.reacts) && !this.live;
  }

  act(action) {
    if (this.resting && ["pin", "move", "ablated"].includes(action.type)) return;
    const next = transition(this.scene, this.look, action);
    if (next === this.look) return;
    if (this.problem) {
      this.problem = "";
      this.tell("error");
    }
    const changed = LOOK.filter((name) => JSON.stringify(next[name]) !== JSON.stringify(this.look[name]));
    this.look = next;
    if (changed.some((name) => REACTS.includes(name))) this.expectAnswer();
    if (action.type === "pin" && next.pin.length && this.model.get("region")?.length) this.model.set("region", []);
    this.writing = true;
    for (const name of changed) this.model.set(name, next[name]);
    this.writing = false;
    this.save();
    this.tell("look");
  }

  // The kernel hears of a state that stays for a moment, of a moving one once a second, and always of the last: each time
  // it turns busy, and the notebook's tool bars with it. What happens while it computes is told when it is done: held keys
  // must not queue one computation each. Linked widgets on the page hear at once.
  save() {
    const now = Date.now();
    this.unsaved ??= now;
    clearTimeout(this.saving);
    const wait = Math.min(PAUSE_MS, this.unsaved + LATEST_MS - now);
    this.saving = setTimeout(
      () => {
        if (this.scene.reacts && this.model.get("busy")) return;
        this.unsaved = null;
        this.guard(() => this.model.save_changes());
      },
      Math.max(0, wait),
    );
  }

  // A region while it is drawn, and when it is done: the kernel is told once.
  sketch(region) {
    this.draft = region;
    this.tell("look");
  }
  drawRegion(region) {
    this.draft = null;
    this.look = { ...this.look, pin: [] };
    this.writing = true;
    this.model.set("pin", []);
    this.writing = false;
    this.model.set("region", region);
    this.expectAnswer();
    this.save();
    this.tell("look");
  }
  get marks() {
    const marks = this.model.get("marks") ?? [];
    if (!this.draft) return marks;
    const [x, y, right, bottom] = this.draft;
    return [...marks, { kind: "box", tone: "one", x, y, width: right - x, height: bottom - y }];
  }

  readLook(name) {
    if (this.writing) return;
    const value = this.model.get(name);
    if (JSON.stringify(value) === JSON.stringify(this.look[name])) return;
    // A trait set from outside goes through the same step as a click, so that it cannot point at nothing.
    if (name === "layer") this.look = transition(this.scene, this.look, { type: "layer", layer: value });
    else if (name === "channel") this.look = transition(this.scene, this.look, { type: "channel", channel: value });
    else this.look = { ...this.look, [name]: value };
    if (name === "channels") this.look.channel = value[this.look.layer] ?? 0;
    this.writing = true;
    for (const other of ["channel", "channels"]) this.model.set(other, this.look[other]);
    this.writing = false;
    this.tell("look");
  }

  // The pointer is at a point of the photo, or of a kernel that fills the picture.
  point(at, taps = false) {
    this.hover = at;
    this.hoverTaps = taps;
    this.tell("point");
  }
  get atTaps() {
    return Boolean(this.hover && this.hoverTaps);
  }
  get at() {
    return this.hover ?? (this.look.pin.length === 2 ? this.look.pin : null);
  }
}
