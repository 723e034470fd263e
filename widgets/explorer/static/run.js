// One run of the network: its maps, and what the views make of them. Works in the worker and, for recorded runs, on the page.
import { STATISTICS, cell } from "../../static/core.js";
import {
  channelStatistics,
  gradientTarget,
  laplacian,
  maskedGradientTarget,
  quantise,
  scores,
  sigmoid,
} from "./measures.js";
import { resizeAligned, resizeFloats } from "./resize.js";

const STAGE = /^decoder\.stage(\d)\.(.+)$/;
const TONES = { 1: "two", 3: "four", 7: "one" };

const makeMap = (dims, data) => ({ dims, data });
const change = ({ dims, data }, task) => makeMap(dims, Float32Array.from(data, task));

export class Run {
  // `maps`: layers and kernels' maps by name, {dims: [C, h, w], data}; `seen`: RGB bytes at the network's size; `image`:
  // the same, normalised (3, H, W); `photo`: {width, height} of the photo; `kernels`: sizes of the deformable convolutions;
  // `whole`: the mask of the whole network, where parts are off in this run.
  constructor({ size, maps, seen, image, photo, kernels, off = [], whole = null }) {
    Object.assign(this, { size, maps, seen, image, photo, kernels, off });
    this.known = new Map();
    this.measured = new Map();
    this.whole = whole ?? this.mask;
  }

  get mask() {
    return Float32Array.from(this.maps.logits.data, sigmoid);
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

  // What a view shows under a name of its scene; null where this run does not have it.
  shown(view, name) {
    const recipe = RECIPES[view];
    return recipe ? this.once(`${view} ${name}`, () => recipe(this, name)) : this.values(name);
  }

  // Statistics of a view's layer, seven numbers a channel.
  statistics(view, name) {
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
    const kept = !RECIPES[view] && this.maps[name]?.planes;
    if (kept) return kept.get(channel) ?? null;
    const shown = this.shown(view, name);
    if (!shown || channel >= shown.dims[0]) return null;
    const [, height, width] = shown.dims;
    return quantise(shown.data.subarray(channel * height * width, (channel + 1) * height * width), width, height);
  }

  // Everything that a view opens with: for each of its layers the statistics and the planes of some channels.
  open(view, channels) {
    return Object.entries(channels).map(([name, channel]) => {
      const statistics = this.statistics(view, name);
      if (!statistics) return { name, missing: true };
      const count = statistics.length / STATISTICS.length;
      return { name, statistics, planes: { [channel]: this.plane(view, name, Math.min(channel, count - 1)) } };
    });
  }

  planes(view, name, channels) {
    return Object.fromEntries(channels.map((channel) => [channel, this.plane(view, name, channel)]));
  }

  // What follows from the pin: marks in the photo's pixels, a table, channels to choose.
  react(view, look) {
    return REACTIONS[view]?.(this, look) ?? {};
  }
}

// ---- what each view shows ----

const RECIPES = {
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

const blockOf = (kernel) => {
  const parts = kernel.split(".");
  if (parts[0] === "decoder") return `Stage ${parts[1].replace("stage", "")}`;
  return `Squeeze${Number(parts[1]) ? ` ${Number(parts[1]) + 1}` : ""}`;
};
const kernelsOf = (run, block) => Object.keys(run.kernels).filter((name) => blockOf(name) === block);

// ---- what follows from a click ----

const REACTIONS = {
  sampling_points(run, { layer, pin }) {
    const block = layer.split(" · ")[0];
    const names = kernelsOf(run, block).filter((name) => run.maps[`${name}.offset`]);
    const { width: columns, height: rows } = run.photo;
    const marks = [];
    const lines = names.map((name) => {
      const side = run.kernels[name];
      const offset = run.maps[`${name}.offset`];
      const weight = run.maps[`${name}.modulation`];
      const [taps, height, width] = weight.dims;
      const row = cell(pin[1], rows, height);
      const column = cell(pin[0], columns, width);
      const at = (values, channel) => values.data[(channel * height + row) * width + column];
      const shifts = [];
      const weights = [];
      for (let tap = 0; tap < taps; tap++) {
        const [down, right] = [at(offset, 2 * tap), at(offset, 2 * tap + 1)];
        const y = row + Math.floor(tap / side) - Math.floor(side / 2) + down + 0.5;
        const x = column + (tap % side) - Math.floor(side / 2) + right + 0.5;
        shifts.push(Math.hypot(down, right));
        weights.push(at(weight, tap));
        const strength = Math.min(Math.max(at(weight, tap) / 2, 0.1), 1);
        marks.push({
          kind: "point",
          x: (x / width) * columns,
          y: (y / height) * rows,
          tone: TONES[side] ?? "three",
          weight: strength,
          block,
        });
      }
      const mean = (values) => values.reduce((sum, x) => sum + x, 0) / values.length;
      return {
        cells: [
          `${side} × ${side}`,
          `${taps}`,
          mean(shifts).toFixed(3),
          Math.max(...shifts).toFixed(3),
          mean(weights).toFixed(3),
        ],
      };
    });
    const columnNames = ["Kernel", "taps", "mean shift", "largest", "mean weight"];
    return {
      marks: marks.reverse(),
      table: { caption: "At the pin; shifts in cells of this block's map", columns: columnNames, rows: lines },
    };
  },

  reference_tiles(run, { layer, pin }) {
    const [rows, columns] = [run.photo.height, run.photo.width];
    const places = [4, 3, 2, 1].map((stage) => {
      const grid = 2 ** (stage + 1);
      const [high, wide] = [run.size[0] / grid, run.size[1] / grid];
      const [row, column] = [cell(pin[1], rows, run.size[0]), cell(pin[0], columns, run.size[1])];
      const [down, right] = [Math.floor(row / high), Math.floor(column / wide)];
      const channels = [0, 1, 2].map((colour) => (colour * grid + down) * grid + right);
      const old = [0, 1, 2].map((colour) => (right * grid + down) * 3 + colour);
      return { stage, grid, high, wide, down, right, y: row % high, x: column % wide, channels, old };
    });
    const place =
      places.find(({ stage }) => layer.includes(`stage${stage}.`) || layer.includes(`stage ${stage}.`)) ?? places[3];
    const { stage, grid, wide, high } = place;
    const [across, along] = [columns / grid, rows / grid];
    const photo = [`stage ${stage}.resized`, "photo"];
    const inside = [((place.x + 0.5) / wide) * across, ((place.y + 0.5) / high) * along];
    const marks = [];
    for (let i = 1; i < grid; i++) {
      marks.push({ kind: "line", x: i * across, y: 0, x2: i * across, y2: rows, tone: "grid", layers: photo });
      marks.push({ kind: "line", x: 0, y: i * along, x2: columns, y2: i * along, tone: "grid", layers: photo });
    }
    for (let j = 0; j < grid; j++) {
      for (let i = 0; i < grid; i++)
        marks.push({ kind: "point", x: i * across + inside[0], y: j * along + inside[1], tone: "two", layers: photo });
    }
    marks.push({
      kind: "box",
      x: place.right * across,
      y: place.down * along,
      width: across,
      height: along,
      tone: "one",
      layers: photo,
    });
    marks.push({
      kind: "point",
      x: inside[0] * grid,
      y: inside[1] * grid,
      tone: "two",
      layers: [`stage ${stage}.tiles`, `decoder.stage${stage}.inward_reference`],
    });
    const lines = places.map((p) => ({
      cells: [
        `Stage ${p.stage}`,
        `${p.grid} × ${p.grid}`,
        `${p.down}, ${p.right}`,
        `${p.x}, ${p.y}`,
        p.channels.join(", "),
        p.old.join(", "),
      ],
      layer: `stage ${p.stage}.tiles`,
    }));
    const heads = [
      "Stage",
      "tiles",
      "tile's row, column",
      "x, y in the tile",
      "channels of red, green, blue",
      "the same before November 2024",
    ];
    return {
      marks,
      channels: Object.fromEntries(places.map((p) => [`stage ${p.stage}.tiles`, p.channels[0]])),
      table: {
        caption: "Where the pixel goes. The tile is boxed, dots are what one cell of the stage sees at once.",
        columns: heads,
        rows: lines,
      },
    };
  },

  ablation(run) {
    const line = (title, mask) => {
      const { error, iou, change: moved } = scores(mask, run.whole);
      return { cells: [title, error.toFixed(4), iou.toFixed(4), moved.toFixed(4)] };
    };
    const rows = [line("Whole network", run.whole), line("Without", run.mask)];
    return {
      table: {
        caption: "Scores against the whole network's own mask, over 0.5",
        columns: ["", "mean error", "IoU", "mean change"],
        rows,
      },
    };
  },
};
