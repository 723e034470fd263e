// One run of the network: its maps, and what the views make of them. Works in the worker and, for recorded runs, on the page.
import { STATISTICS } from "../../static/core.js";
import { channelStatistics, gradientTarget, laplacian, maskedGradientTarget, quantise, sigmoid } from "./measures.js";
import { REACTIONS } from "./reactions.js";
import { RECIPES } from "./recipes.js";
import { resizeFloats } from "./resize.js";
import { COMPONENTS, colourPlane, fitBasis, labelsOf, normOf, project } from "./summaries.js";

const STAGE = /^decoder\.stage(\d)\.(.+)$/;

// `NAME · colours` and `NAME · norm` sum up the channels of a layer.
const SUMMARY = / · (?=(?:colours|norm)$)/;

const makeMap = (dims, data) => ({ dims, data });

export class Run {
  // `maps`: layers and kernels' maps by name, {dims: [C, h, w], data}; `seen`: RGB bytes at the network's size; `image`:
  // the same, normalised (3, H, W); `photo`: {width, height} of the photo; `kernels`: sizes of the deformable convolutions;
  // `whole`: the mask of the whole network, where parts are off in this run.
  constructor({ size, maps, seen = null, image = null, photo, kernels, whole = null }) {
    Object.assign(this, { size, maps, seen, image, photo, kernels, given: whole });
    this.second = null; // the run on another photo, for the view of two
    this.known = new Map();
    this.measured = new Map();
  }

  get mask() {
    return this.once("the mask", () => Float32Array.from(this.maps.logits.data, sigmoid));
  }
  get whole() {
    return this.given ?? this.mask;
  }

  // The mask at the photo's size, (H, W).
  maskOfPhoto() {
    const { width, height } = this.photo;
    return { dims: [height, width], data: resizeFloats(this.mask, this.size[1], this.size[0], width, height) };
  }

  // A layer by its name in `capture`, a kernel's map, or one of the gradient targets; null where there is none.
  values(name) {
    if (this.maps[name]) return this.maps[name].data ? this.maps[name] : null;
    const [, stage, kind] = STAGE.exec(name) ?? [];
    const [height, width] = this.size;
    if (name === "laplacian")
      return this.once(name, () => makeMap([1, height, width], laplacian(this.image, height, width)));
    if (kind !== "gradient_target" && kind !== "gradient_target_masked") return null;
    return this.once(name, () => {
      const side = this.maps[`decoder.stage${stage}.side`];
      const make = kind === "gradient_target" ? gradientTarget : maskedGradientTarget;
      return makeMap(
        [1, height, width],
        make(this.values("laplacian").data, height, width, side.data, side.dims[1], side.dims[2]),
      );
    });
  }

  once(name, make) {
    if (!this.known.has(name)) this.known.set(name, make());
    return this.known.get(name);
  }

  // Both sizes of the image share one basis of colours, so that their maps compare.
  basisOf(name) {
    const first = name.replace("encoder.half.", "encoder.full.");
    return this.once(`basis ${first}`, () => {
      const twins = new Set([first, first.replace("encoder.full.", "encoder.half.")]);
      return fitBasis([...twins].map((each) => this.values(each)).filter(Boolean), COMPONENTS);
    });
  }
  projected(name) {
    return this.once(`projected ${name}`, () => project(this.values(name), this.basisOf(name)));
  }

  // The maps of a view under a name of its scene; null where this run does not have them.
  shown(view, name) {
    const [base, summary] = name.split(SUMMARY);
    if (summary === "norm") return this.values(base) && this.once(name, () => normOf(this.values(base)));
    const recipe = RECIPES[view];
    return recipe ? this.once(`${view} ${name}`, () => recipe(this, name)) : this.values(name);
  }

  // Statistics of a view's layer, seven numbers a channel.
  statistics(view, name) {
    const [base, summary] = name.split(SUMMARY);
    if (summary === "colours") {
      const maps = this.values(base);
      return maps && new Float32Array(STATISTICS.length * labelsOf(maps.dims[1] * maps.dims[2]).length);
    }
    const given = !RECIPES[view] && this.maps[name]?.statistics;
    if (given) return given;
    const key = `${view} ${name}`;
    if (!this.measured.has(key)) {
      const shown = this.shown(view, name);
      if (!shown) return null;
      const [channels, height, width] = shown.dims;
      const mask = resizeFloats(this.mask, this.size[1], this.size[0], width, height);
      this.measured.set(key, channelStatistics(shown.data, channels, height, width, mask));
    }
    return this.measured.get(key);
  }

  // One channel as a plane; null where it is not there.
  plane(view, name, channel) {
    const [base, summary] = name.split(SUMMARY);
    if (summary === "colours") return colourPlane(this.values(base), this.projected(base), this.basisOf(base), channel);
    const kept = !RECIPES[view] && this.maps[name]?.planes;
    if (kept) return kept.get(channel) ?? null;
    const shown = this.shown(view, name);
    if (!shown || channel >= shown.dims[0]) return null;
    const [, height, width] = shown.dims;
    return quantise(shown.data.subarray(channel * height * width, (channel + 1) * height * width), width, height);
  }

  // For the view of two: the run on another photo, or null until it is there.
  pairWith(other) {
    this.second = other;
    for (const store of [this.known, this.measured])
      for (const key of [...store.keys()]) if (key.startsWith("paired ")) store.delete(key);
  }

  // Everything that a view opens with: for each of its layers the statistics and the planes of some channels.
  open(view, channels) {
    return Object.entries(channels).map(([name, channel]) => {
      const statistics = this.statistics(view, name);
      if (!statistics) return { name, missing: true };
      const count = statistics.length / STATISTICS.length;
      // Pictures of all channels take a moment: they are made when they are asked for.
      if (SUMMARY.test(name)) return { name, statistics, planes: {} };
      return { name, statistics, planes: { [channel]: this.plane(view, name, Math.min(channel, count - 1)) } };
    });
  }

  // The planes that the map of the network shows, one channel of each layer.
  firstPlanes(channels) {
    return Object.fromEntries(
      Object.keys(channels)
        .filter((name) => this.maps[name])
        .map((name) => [name, this.plane("part", name, channels[name])]),
    );
  }

  planes(view, name, channels) {
    return Object.fromEntries(channels.map((channel) => [channel, this.plane(view, name, channel)]));
  }

  // The reaction to the pin: marks in the photo's pixels, a table, channels to choose.
  react(view, look) {
    return REACTIONS[view]?.(this, look) ?? {};
  }
}
