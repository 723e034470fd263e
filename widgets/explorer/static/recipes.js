// Layers of each view of the page, computed from the maps of one run.
import { sigmoid } from "./measures.js";
import { resizeAligned } from "./resize.js";

const makeMap = (dims, data) => ({ dims, data });
const change = ({ dims, data }, task) => makeMap(dims, Float32Array.from(data, task));

// The deformable kernels of a block, by name.
const blockOf = (kernel) => {
  const parts = kernel.split(".");
  if (parts[0] === "decoder") return `Stage ${parts[1].replace("stage", "")}`;
  return `Squeeze${Number(parts[1]) ? ` ${Number(parts[1]) + 1}` : ""}`;
};
export const kernelsOf = (run, block) => Object.keys(run.kernels).filter((name) => blockOf(name) === block);

// By view, a function of the run and a layer's name in the scene; null where the run does not have it.
export const RECIPES = {
  prediction_ladder(run, name) {
    const [title, what] = name.split(".");
    const logits = title === "final" ? run.values("logits") : run.values(`decoder.stage${title.slice(-1)}.side`);
    if (what === "native") return change(logits, sigmoid);
    const [height, width] = run.size;
    const upsampled = () =>
      makeMap(
        [1, height, width],
        resizeAligned(logits.data, logits.dims[2], logits.dims[1], width, height).map(sigmoid),
      );
    if (what === "upsampled") return upsampled();
    const before = { "stage 3": "stage 4", "stage 2": "stage 3", final: "stage 2" }[title];
    if (what !== "change" || !before) return null;
    const below = run.shown("prediction_ladder", `${before}.upsampled`).data;
    return change(upsampled(), (x, i) => x - below[i]);
  },

  gradient_targets(run, name) {
    if (name.endsWith(".original")) return change(run.values(name.replace(/original$/, "gradient_target")), sigmoid);
    if (name.endsWith(".corrected")) return run.values(name.replace(/corrected$/, "gradient_target_masked"));
    const found = run.values(name);
    return found && (name.endsWith(".side") || name.endsWith(".gradient_prediction")) ? change(found, sigmoid) : found;
  },

  reference_tiles(run, name) {
    const [, stage, what] = /^stage (\d)\.(.+)$/.exec(name) ?? [];
    if (!stage) return run.values(name);
    const grid = 2 ** (Number(stage) + 1);
    const [height, width] = [run.size[0] / grid, run.size[1] / grid];
    const colours = [0, 1, 2].map((c) =>
      Float32Array.from({ length: run.size[0] * run.size[1] }, (_, i) => run.seen[3 * i + c] / 255),
    );
    if (what === "resized") {
      const data = new Float32Array(3 * height * width);
      colours.forEach((colour, c) =>
        data.set(resizeAligned(colour, run.size[1], run.size[0], width, height), c * height * width),
      );
      return makeMap([3, height, width], data);
    }
    const data = new Float32Array(3 * run.size[0] * run.size[1]);
    let at = 0;
    for (const colour of colours) {
      for (let row = 0; row < grid; row++) {
        for (let column = 0; column < grid; column++) {
          for (let y = 0; y < height; y++, at += width) {
            const start = (row * height + y) * run.size[1] + column * width;
            data.set(colour.subarray(start, start + width), at);
          }
        }
      }
    }
    return makeMap([3 * grid * grid, height, width], data);
  },

  sampling_points(run, name) {
    const [block, number, what] = name.split(" · ");
    const kernel = kernelsOf(run, block)[Number(number?.replace("kernel ", "")) - 1];
    if (!kernel || !run.maps[`${kernel}.offset`]) return null;
    const { dims, data } = run.maps[`${kernel}.${what === "shift" ? "offset" : "modulation"}`];
    const [count, height, width] = dims;
    const size = height * width;
    const taps = what === "shift" ? count / 2 : count;
    const out = new Float32Array(size);
    for (let tap = 0; tap < taps; tap++) {
      for (let i = 0; i < size; i++)
        out[i] +=
          what === "shift"
            ? Math.hypot(data[2 * tap * size + i], data[(2 * tap + 1) * size + i])
            : data[tap * size + i];
    }
    return makeMap(
      [1, height, width],
      out.map((x) => x / taps),
    );
  },

  paired(run, name) {
    const [layer, side] = name.split(" · ");
    const [first, second] = [run.values(layer), run.second?.values(layer) ?? null];
    if (!first || !second) return null;
    if (side !== "difference") return side === "first" ? first : second;
    return makeMap(
      first.dims,
      first.data.map((x, i) => second.data[i] - x),
    );
  },

  ablation(run, name) {
    const [height, width] = run.size;
    const after = run.mask;
    if (name === "whole") return makeMap([1, height, width], run.whole);
    if (name === "without") return makeMap([1, height, width], after);
    return name === "change"
      ? makeMap(
          [1, height, width],
          after.map((x, i) => x - run.whole[i]),
        )
      : null;
  },
};
