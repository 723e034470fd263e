// A training as curves: the losses over the steps, the step that is shown, and the one it is compared with.
import { h, svg } from "./dom.js";
import { layerOf } from "./look.js";

// Of the drawing, which is stretched to the chart; its labels stand beside it, so that they keep their size.
const [WIDE, HIGH] = [1000, 160];
const CURVE_TONES = ["one", "four", "three", "two"];

export class Film {
  constructor(store) {
    this.store = store;
    this.root = h("section", { class: "bv-film", hidden: !store.scene.curves, "aria-label": "Losses over the steps" });
    if (store.scene.curves) this.build(store.scene.curves);
  }

  build({ x, series, steps }) {
    const { store } = this;
    const values = Object.values(series)
      .flat()
      .filter((value) => value !== null);
    const [low, high] = [Math.min(0, ...values), Math.max(...values, 1e-9)];
    const first = Math.min(...x, ...steps);
    const last = Math.max(...x, ...steps, first + 1);
    this.across = (step) => ((step - first) / (last - first)) * WIDE;
    const down = (value) => ((high - value) / (high - low)) * HIGH;
    this.chart = svg("svg", {
      viewBox: `0 0 ${WIDE} ${HIGH}`,
      preserveAspectRatio: "none",
      class: "bv-curves",
      role: "img",
    });
    const levels = [high, (low + high) / 2, low];
    for (const value of levels)
      this.chart.append(svg("line", { x1: 0, x2: WIDE, y1: down(value), y2: down(value), class: "bv-curve-grid" }));
    const label = (text) => h("span", {}, text);
    const scale = h(
      "div",
      { class: "bv-curve-scale" },
      levels.map((value) => label(Number(value.toPrecision(3)))),
    );
    const ends = h("div", { class: "bv-curve-steps" }, label(`step ${first}`), label(`step ${last}`));
    const legend = Object.keys(series).map((name, i) =>
      h("span", { class: "bv-key" }, h("i", { class: `bv-swatch bv-tone-${CURVE_TONES[i % 4]}` }), name),
    );
    Object.values(series).forEach((line, i) => {
      // A step without a value leaves no gap: the line goes on to the next one.
      const points = line.map((value, j) => (value === null ? null : `${this.across(x[j])},${down(value)}`));
      this.chart.append(
        svg("polyline", { points: points.filter(Boolean).join(" "), class: `bv-curve bv-tone-${CURVE_TONES[i % 4]}` }),
      );
    });
    this.chart.setAttribute("aria-label", `Curves of ${Object.keys(series).join(", ")} from step ${first} to ${last}`);
    const mark = (name) => svg("line", { y1: 0, y2: HIGH, class: `bv-curve-${name}` });
    this.marks = { shown: mark("shown"), beside: mark("beside") };
    this.chart.append(...Object.values(this.marks));
    this.chart.addEventListener("click", (event) => this.pick(event));
    this.beside = h(
      "select",
      { on: { change: () => this.compare(Number(this.beside.value)) } },
      steps.map((step, i) => h("option", { value: i }, `step ${step}`)),
    );
    this.root.append(
      h("div", { class: "bv-legend" }, legend),
      h("div", { class: "bv-chart" }, scale, this.chart, ends),
      h(
        "div",
        { class: "bv-fields" },
        h("label", { class: "bv-field bv-inline" }, h("span", {}, "Beside it"), this.beside),
        h(
          "span",
          { class: "bv-muted" },
          "A click on the curves shows the recorded step nearest to it; with Shift, beside.",
        ),
      ),
    );
  }

  // The recorded step nearest to a click.
  pick(event) {
    const box = this.chart.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * WIDE;
    const { steps } = this.store.scene.curves;
    const far = (i) => Math.abs(this.across(steps[i]) - at);
    const nearest = steps.reduce((best, _, i) => (far(i) < far(best) ? i : best), 0);
    if (event.shiftKey) this.compare(nearest);
    else this.store.guard(() => this.store.act({ type: "channel", channel: nearest }));
  }

  compare(frame) {
    this.store.guard(() => this.store.act({ type: "beside", channel: frame }));
  }

  update() {
    if (this.root.hidden) return;
    const { look, scene } = this.store;
    const { steps } = scene.curves;
    const frames = layerOf(scene, look.layer).channels;
    const beside = Math.min(look.channels.beside ?? steps.length - 1, steps.length - 1);
    this.beside.value = beside;
    // A map that does not change, such as the true mask, has one frame.
    const shown = frames > 1 ? look.channel : null;
    for (const [mark, frame] of [
      [this.marks.shown, shown],
      [this.marks.beside, frames > 1 ? beside : null],
    ]) {
      mark.setAttribute("visibility", frame === null ? "hidden" : "visible");
      if (frame === null) continue;
      mark.setAttribute("x1", this.across(steps[frame]));
      mark.setAttribute("x2", this.across(steps[frame]));
    }
  }
}
