// How the mask in focus is drawn over the photo, and its scores at the threshold.
import { h, write } from "./dom.js";
import { layerOf } from "./look.js";
import { levelOf, MASK_AS, scoreMask } from "./mask.js";

const WAYS = Object.fromEntries(MASK_AS.map((way) => [way, way]));
const GROUNDS = { checker: "checker", "#ffffff": "white", "#000000": "black", colour: "a colour" };
const SCORES = [
  ["iou", "IoU"],
  ["precision", "precision"],
  ["recall", "recall"],
];

export class MaskPanel {
  constructor(store) {
    this.store = store;
    const act = (action) => store.guard(() => store.act(action));
    const field = (label, input) => h("label", { class: "bv-field" }, h("span", {}, label), input);
    const select = (options, change) =>
      h(
        "select",
        { on: { change: (event) => change(event.target.value) } },
        Object.entries(options).map(([value, text]) => h("option", { value }, text)),
      );
    this.as = select(WAYS, (value) => act({ type: "mask_as", mask_as: value }));
    this.slider = h("input", {
      type: "range",
      min: 0,
      max: 1,
      step: 0.01,
      on: { input: () => act({ type: "threshold", threshold: Number(this.slider.value) }) },
    });
    this.value = h("b", {}, "0.50");
    this.ground = select(GROUNDS, (value) =>
      act({ type: "ground", ground: value === "colour" ? this.colour.value : value }),
    );
    this.colour = h("input", {
      type: "color",
      value: "#2f6f4f",
      "aria-label": "Colour of the ground",
      on: { input: () => act({ type: "ground", ground: this.colour.value }) },
    });
    this.grounds = h("span", { class: "bv-mask-ground" }, field("On", this.ground), this.colour);
    this.said = h("div", { class: "bv-mask-said", role: "status" });
    this.root = h(
      "section",
      { class: "bv-mask", "aria-label": "The mask", hidden: true },
      h(
        "div",
        { class: "bv-fields" },
        field("The mask as", this.as),
        h("label", { class: "bv-field" }, h("span", {}, "Threshold ", this.value), this.slider),
        this.grounds,
      ),
      this.said,
    );
  }

  // The masks among the pictures in focus, with their scores at the threshold.
  update(stages) {
    const { store } = this;
    const { look, scene } = store;
    const masks = stages.filter((stage) => stage.info.mask && stage.plane);
    this.root.hidden = !masks.length;
    if (!masks.length) return;
    this.as.value = look.mask_as;
    this.slider.value = look.threshold;
    write(this.value, look.threshold.toFixed(2));
    this.grounds.hidden = !look.mask_as.endsWith("cut-out");
    const named = look.ground in GROUNDS;
    this.ground.value = named ? look.ground : "colour";
    this.colour.hidden = named;
    if (!named) this.colour.value = look.ground;
    const truth = scene.truth ? store.plane(scene.truth, 0) : null;
    const state = [look.threshold, ...masks.map((stage) => stage.plane), truth];
    if (state.length === this.state?.length && state.every((value, i) => value === this.state[i])) return;
    this.state = state;
    this.said.replaceChildren(...masks.map((stage) => h("div", {}, this.say(stage, truth, masks.length > 1))));
  }

  say(stage, truth, several) {
    const { look, scene } = this.store;
    const level = levelOf(stage.info.mask, look.threshold);
    const known = truth && stage.layer !== scene.truth;
    const scores = known
      ? scoreMask(stage.plane, level, truth, levelOf(layerOf(scene, scene.truth).mask, 0.5))
      : scoreMask(stage.plane, level);
    const label = scene.linked ? stage.info.labels?.[stage.shownChannel] : "";
    const name = several ? `${[stage.info.title, label].filter(Boolean).join(", ")}: ` : "";
    const texts = SCORES.filter(([key]) => key in scores).map(
      ([key, text]) => `${text} ${Number.isNaN(scores[key]) ? "–" : scores[key].toFixed(4)}`,
    );
    const against = texts.length ? ` against ${scene.against ?? "the given mask"}` : "";
    return `${name}${[`Covers ${(100 * scores.share).toFixed(1)} % of the photo`, ...texts].join(" · ")}${against}`;
  }
}
