// Controls beside the picture: channel, order, colours, range, opacity.
import { drawBar } from "./colour_bar.js";
import { countMarks, formatValue, LEVELS, MARKS } from "./core.js";
import { channelName, coloursFor, explainRange, layerOf } from "./look.js";
import { breakable, h, write } from "./dom.js";

const FRAME_MS = 300;
const RANGE_NAMES = { map: "this map", layer: "this layer", all: "all layers", own: "my limits" };
const SORT_NAMES = {
  detail: "detail",
  variance: "variance",
  mean: "mean",
  max: "maximum",
  agreement: "agreement with the mask",
  index: "number",
};

const option = (value, text) => h("option", { value }, text);
const field = (label, ...inputs) => h("label", { class: "bv-field" }, h("span", {}, label), ...inputs);

// The steps of a film as options; a map that does not change has none.
function stepsOf(scene) {
  const most = scene.layers.reduce((one, other) => (other.channels > one.channels ? other : one));
  return Array.from({ length: most.channels }, (_, i) => option(i, channelName(scene, most, i)));
}

export class Controls {
  constructor(store) {
    this.store = store;
    this.makeChannelRow();
    this.makeFields();
    this.name = h("div", { class: "bv-layer-name" });
    this.note = h("div", { class: "bv-layer-note" });
    this.bar = h("canvas", { class: "bv-bar", width: 256, height: 1, role: "img" });
    this.ticks = h("div", { class: "bv-ticks" }, h("span"), h("span"), h("span"));
    this.why = h("div", { class: "bv-why" });
    this.legend = h("div", { class: "bv-legend" });
    this.root = h(
      "div",
      { class: "bv-controls" },
      h("div", {}, this.name, this.note),
      h("div", { class: "bv-colour-bar" }, this.bar, this.ticks, this.why, this.legend),
      this.channelRow,
      h(
        "div",
        { class: "bv-fields" },
        field("Colours", this.colormap),
        field("Range", this.range),
        this.limits,
        field("Over the photo", this.opacity),
      ),
    );
  }

  // The channel, or the step of a film, by number and by a slider.
  makeChannelRow() {
    const { store } = this;
    const film = store.scene.linked;
    const choose = (channel) => this.act({ type: "channel", channel });
    this.slider = h("input", {
      type: "range",
      min: 0,
      step: 1,
      class: "bv-channel-slider",
      "aria-label": film ? "Step" : "Channel, in the order of the list",
      on: { input: () => choose(store.order(store.look.layer)[Number(this.slider.value)]) },
    });
    const chooseNumber = () => this.number.value !== "" && choose(Number(this.number.value));
    this.number = film
      ? h("select", { name: "channel", on: { change: chooseNumber } }, stepsOf(store.scene))
      : h("input", {
          type: "number",
          min: 0,
          step: 1,
          class: "bv-number",
          name: "channel",
          on: { input: chooseNumber, change: () => (this.number.value = store.look.channel) },
        });
    this.place = h("span", { class: "bv-muted" });
    this.play = h(
      "button",
      { class: "bv-button", type: "button", hidden: !film, on: { click: () => this.toggle() } },
      "Play",
    );
    this.channelRow = h(
      "div",
      { class: "bv-channel-row", dataset: { film: String(Boolean(film)) } },
      this.play,
      field(film ? "Shown" : "Channel", this.number),
      this.slider,
      this.place,
    );
  }

  // Colours, their range with its limits, opacity, and the order of the channels.
  makeFields() {
    const { scene } = this.store;
    const select = (name, entries) =>
      h(
        "select",
        { name, on: { change: (event) => this.act({ type: name, [name]: event.target.value }) } },
        entries.map(([value, text]) => option(value, text)),
      );
    const limit = (label) =>
      h("input", {
        type: "number",
        step: "any",
        class: "bv-number",
        "aria-label": label,
        on: { input: () => this.setLimits(), change: () => this.refuseLimits() },
      });
    this.colormap = select("colormap", [["auto", "automatic"], ...scene.colormaps.map((name) => [name, name])]);
    this.range = select("range", Object.entries(RANGE_NAMES));
    this.low = limit("Lower limit");
    this.high = limit("Upper limit");
    this.limits = h("span", { class: "bv-limits" }, this.low, "to", this.high);
    this.opacity = h("input", {
      type: "range",
      min: 0,
      max: 100,
      step: 1,
      name: "opacity",
      on: { input: () => this.act({ type: "opacity", opacity: Number(this.opacity.value) / 100 }) },
    });
    const agreement = `agreement with the ${scene.agreement || "mask"}`;
    this.sort = select("sort", Object.entries({ ...SORT_NAMES, agreement }));
  }

  act(action) {
    this.store.guard(() => this.store.act(action));
  }

  setLimits() {
    const [low, high] = [Number(this.low.value), Number(this.high.value)];
    if (this.low.value !== "" && this.high.value !== "") this.store.act({ type: "limits", limits: [low, high] });
  }

  // Runs through the steps of a film, from the start when it stands at the end.
  toggle() {
    if (this.timer) return this.stop();
    const { store } = this;
    const last = () => layerOf(store.scene, store.look.layer).channels - 1;
    this.play.textContent = "Stop";
    if (store.look.channel >= last()) store.act({ type: "channel", channel: 0 });
    this.timer = setInterval(() => {
      store.act({ type: "channel", channel: store.look.channel + 1 });
      if (store.look.channel >= last()) this.stop();
    }, FRAME_MS);
    return undefined;
  }
  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.play.textContent = "Play";
  }

  // Limits that enclose nothing do not hold: the inputs show again what does.
  refuseLimits() {
    const { limits } = this.store.look;
    if (Number(this.low.value) < Number(this.high.value) || limits?.length !== 2) return;
    [this.low.value, this.high.value] = limits.map((value) => Number(value.toPrecision(4)));
    this.store.fail(new Error("The lower limit must be below the upper one: the limits stay as they were."));
  }

  // `panel` is the picture in focus, already drawn.
  update(panel) {
    const { store } = this;
    const { look, scene } = store;
    const layer = layerOf(scene, look.layer);
    const order = store.order(layer.name);
    if (this.name.textContent !== layer.title) this.name.replaceChildren(...breakable(layer.title));
    const unit = `${scene.linked ? "step" : "channel"}${layer.channels === 1 ? "" : "s"}`;
    const size = `${layer.channels} ${unit} of ${layer.width} × ${layer.height}`;
    const label = scene.linked ? channelName(scene, layer, look.channel) : layer.labels?.[look.channel];
    const said = [label, size, layer.note].filter(Boolean).join(" · ");
    const alike = panel.plane?.alike;
    write(
      this.note,
      alike ? `Cosine similarity to the pinned cell, from ${alike} of ${layer.channels} channels` : said,
    );
    this.channelRow.hidden = layer.channels === 1;
    this.slider.max = order.length - 1;
    this.slider.disabled = order.length < 2;
    this.number.max = layer.channels - 1;
    this.slider.value = order.indexOf(look.channel);
    this.slider.setAttribute("aria-valuetext", channelName(scene, layer, look.channel));
    if (document.activeElement !== this.number) this.number.value = look.channel;
    const whole = order.length === layer.channels ? `${layer.channels}` : `the ${order.length} in this page`;
    const among = scene.linked ? "recorded steps" : `by ${SORT_NAMES[look.sort]}`;
    const only = order.length === 1 && layer.channels > 1;
    write(this.place, only ? "the only one in this page" : `${order.indexOf(look.channel) + 1} of ${whole} ${among}`);
    for (const name of ["colormap", "range", "sort"]) this[name].value = look[name];
    // Fixed limits give way to one's own alone.
    const fixed = Boolean(layer.limits) || layer.kind === "unit";
    write(this.range.options[0], fixed ? "fixed" : layer.shares?.length ? "these maps" : RANGE_NAMES.map);
    for (const one of this.range.options) one.hidden = fixed && ["layer", "all"].includes(one.value);
    if (fixed && look.range !== "own") this.range.value = "map";
    write(this.why, panel.plane?.alike ? "Always −1 to 1." : explainRange(scene, look, layer.name));
    this.opacity.value = Math.round(look.opacity * 100);
    this.bar.parentElement.hidden = layer.kind === "colour";
    if (panel.plane && panel.layer === look.layer && layer.kind !== "colour") this.updateBar(panel);
  }

  updateBar({ plane, limits }) {
    const { store } = this;
    const colours =
      plane.alike && store.look.colormap === "auto" ? "RdBu" : coloursFor(store.scene, store.look, store.look.layer);
    this.limits.hidden = store.look.range !== "own";
    for (const [input, value] of [
      [this.low, limits[0]],
      [this.high, limits[1]],
    ]) {
      if (document.activeElement !== input) input.value = Number(value.toPrecision(4));
    }
    const state = `${colours} ${limits} ${plane.layer} ${plane.channel}`;
    if (this.drawn === state && this.plane === plane) return;
    this.drawn = state;
    this.plane = plane;
    drawBar(this.bar, store.colours.get(colours));
    const [low, high] = limits;
    const counts = countMarks(plane, limits);
    const none = plane.odd && plane.codes.every((code) => code > LEVELS);
    const texts = none ? ["", "", ""] : high > low ? [low, (low + high) / 2, high] : ["", low, ""];
    texts.forEach(
      (value, i) => (this.ticks.children[i].textContent = value === "" ? "" : formatValue(value, (high - low) / 500)),
    );
    this.bar.setAttribute(
      "aria-label",
      `Colour bar from ${this.ticks.children[0].textContent} to ${this.ticks.children[2].textContent}`,
    );
    this.legend.replaceChildren(
      ...Object.entries(counts).map(([name, count]) =>
        h(
          "span",
          { class: "bv-key" },
          h("i", { style: { background: `rgb(${MARKS[name].join(" ")})` } }),
          `${name}: ${count} ${count === 1 ? "cell" : "cells"}`,
        ),
      ),
    );
  }
}
