// All channels of the layer in focus, small, in the chosen order.
import { colourTable, formatValue, STATISTICS, thumbnail } from "./core.js";
import { channelName, coloursFor, layerOf, limitsFor } from "./look.js";
import { h, write } from "./dom.js";
import { switchable, toggle } from "./switches.js";

const PAGE = 48;
const SIDE = 56;
let lists = 0; // for names of elements that no other view on the page has
const THUMB_TABLE = new Uint32Array(65536);

export class Atlas {
  constructor(store, sort) {
    this.store = store;
    this.count = PAGE;
    this.items = new Map();
    this.title = h("span", { class: "bv-muted" });
    this.id = `bv-channels-${lists++}`;
    this.list = h("div", {
      class: "bv-atlas-list",
      role: "listbox",
      "aria-label": store.scene.linked ? "Steps" : "Channels",
      tabindex: "0",
      on: { keydown: (event) => this.key(event) },
    });
    this.more = h("button", { class: "bv-button", type: "button", on: { click: () => this.grow() } }, "Show more");
    this.switch = h("button", {
      class: "bv-button",
      type: "button",
      hidden: true,
      on: { click: () => store.guard(() => toggle(store, `${store.look.layer}#${store.look.channel}`)) },
    });
    this.all = h("div", { class: "bv-all", role: "group", "aria-label": "All channels at once" });
    this.root = h(
      "section",
      { class: "bv-atlas" },
      this.all,
      h(
        "div",
        { class: "bv-atlas-head" },
        store.scene.linked
          ? h("span", { class: "bv-muted" }, "All recorded steps")
          : h("label", { class: "bv-field bv-inline" }, h("span", {}, "Channels by"), sort),
        this.title,
        this.switch,
      ),
      this.list,
      this.more,
    );
  }

  grow() {
    this.count += PAGE;
    this.store.tell("look");
  }

  key(event) {
    const columns = Math.max(
      1,
      Math.round(this.list.clientWidth / (this.list.firstElementChild?.offsetWidth || this.list.clientWidth)),
    );
    const step = {
      ArrowRight: 1,
      ArrowLeft: -1,
      ArrowDown: columns,
      ArrowUp: -columns,
      Home: -Infinity,
      End: Infinity,
    }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    const { store } = this;
    const order = store.order(store.look.layer);
    const last = Math.min(this.count, order.length) - 1;
    const at = Math.min(Math.max(order.indexOf(store.look.channel) + step, 0), last);
    store.act({ type: "channel", channel: order[at] });
    this.items.get(order[at])?.root.scrollIntoView({ block: "nearest" });
  }

  update() {
    const { store } = this;
    const { look, scene } = store;
    const layer = layerOf(scene, look.layer);
    this.offer(layer);
    this.root.hidden = layer.channels === 1 && !layer.base;
    if (this.root.hidden) return;
    const state = () => `${layer.name} ${look.sort} ${layer.labels?.[0]} ${this.count}`;
    if (state() !== this.state) {
      if (!this.state?.startsWith(`${layer.name} `)) this.count = PAGE;
      this.state = state();
      this.build(layer);
    }
    const { length } = store.order(layer.name);
    const shown = Math.min(this.count, length);
    write(this.title, shown < layer.channels ? `${shown} of ${layer.channels}` : "");
    this.more.hidden = shown === length;
    for (const [channel, item] of this.items) this.draw(layer, channel, item);
    const { ablated } = look;
    this.switch.hidden = !switchable(scene).has(layer.name) || !store.live;
    const off = ablated.includes(`${layer.name}#${look.channel}`);
    write(this.switch, `Switch channel ${look.channel} ${off ? "on" : "off"}`);
    for (const [channel, item] of this.items)
      item.root.dataset.off = String(ablated.includes(layer.name) || ablated.includes(`${layer.name}#${channel}`));
  }

  // Pictures of all channels at once, and which cells are like the pinned one.
  offer(layer) {
    const { store } = this;
    const base = layer.base || layer.name;
    const summaries = store.scene.layers.filter((other) => other.base === base);
    const state = `${layer.name} ${store.alike} ${store.look.pin.length} ${summaries.length}`;
    if (state === this.offered) return;
    this.offered = state;
    this.all.hidden = !summaries.length;
    const button = (text, on, task, disabled = false) =>
      h(
        "button",
        {
          class: "bv-button",
          type: "button",
          disabled,
          "aria-pressed": String(on),
          on: { click: () => store.guard(task) },
        },
        text,
      );
    const choose = (name, alike) => () => {
      store.alike = alike;
      if (alike && store.look.pin.length !== 2)
        store.act({ type: "pin", point: [store.scene.image.width / 2, store.scene.image.height / 2] });
      store.act({ type: "layer", layer: name });
      store.tell("look");
    };
    const names = { colours: "Colours", norm: "Norm" };
    this.all.replaceChildren(
      h("span", { class: "bv-muted" }, "All channels at once"),
      button("One channel", layer.name === base && !store.alike, choose(base, false)),
      ...summaries.map((other) =>
        button(
          names[other.name.split(" · ").at(-1)] ?? other.title,
          layer.name === other.name,
          choose(other.name, false),
        ),
      ),
      // Cells are alike in several channels or in none.
      button("Like the pin", layer.name === base && store.alike, choose(base, true), store.order(base).length < 2),
    );
  }

  build(layer) {
    const { store } = this;
    this.items = new Map();
    const order = store.order(layer.name).slice(0, this.count);
    const row = STATISTICS.indexOf(store.look.sort);
    const { width, height } = sizeFor(store.scene.image);
    for (const channel of order) {
      const canvas = h("canvas", {
        class: "bv-canvas",
        width,
        height,
        dataset: { panel: "atlas", layer: layer.name, channel, draws: "0" },
      });
      const value = row < 0 ? null : store.statistics.get(layer.name)[row * layer.channels + channel];
      const name = channelName(store.scene, layer, channel);
      const more = layer.labels?.[channel] ?? (value === null ? "" : `${store.look.sort} ${formatValue(value, 0)}`);
      const text = store.scene.linked || !more ? name : `${name}, ${more}`;
      const root = h(
        "div",
        {
          class: "bv-thumb",
          role: "option",
          id: `${this.id}-${channel}`,
          title: text,
          "aria-label": text,
          on: { click: () => store.act({ type: "channel", channel }) },
        },
        canvas,
        h("span", {}, name.replace(/^(channel|step) /, "")),
      );
      this.items.set(channel, { root, canvas, drawn: "" });
    }
    this.list.replaceChildren(...[...this.items.values()].map((item) => item.root));
    store.prefetch(layer.name, this.count);
  }

  draw(layer, channel, item) {
    const { store } = this;
    const { look, scene } = store;
    const selected = channel === look.channel;
    if (item.selected !== selected) {
      item.selected = selected;
      item.root.setAttribute("aria-selected", String(selected));
      if (selected) this.list.setAttribute("aria-activedescendant", item.root.id);
    }
    const plane = store.cache.planes.get(`${channel}@${layer.name}`);
    if (!plane) {
      item.canvas.dataset.state = "waiting";
      return;
    }
    const limits = limitsFor(scene, look, plane, store.statistics);
    const colours = coloursFor(scene, look, layer.name);
    const state = `${limits} ${colours}`;
    if (item.drawn === state && item.plane === plane) return;
    const context = item.canvas.getContext("2d");
    const image = context.createImageData(item.canvas.width, item.canvas.height);
    colourTable(plane, limits, store.colours.get(colours), THUMB_TABLE);
    thumbnail(plane, THUMB_TABLE, item.canvas.width, item.canvas.height, new Uint32Array(image.data.buffer));
    context.putImageData(image, 0, 0);
    Object.assign(item, { drawn: state, plane });
    item.canvas.dataset.state = "drawn";
    item.canvas.dataset.draws = String(Number(item.canvas.dataset.draws) + 1);
  }
}

function sizeFor({ width, height }) {
  const scale = SIDE / Math.max(width, height);
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}
