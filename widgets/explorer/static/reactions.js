// Reactions to a click in a view: marks in the photo's pixels, a table, channels to choose.
import { cell } from "../../static/core.js";
import { scores } from "./measures.js";
import { kernelsOf } from "./recipes.js";

// The colours of the kernels of a block, as in widgets/views/sampling_points.py.
const TONES = ["three", "two", "four", "one"];

// By view, a function of the run and of what is looked at.
export const REACTIONS = {
  sampling_points(run, { layer, pin }) {
    const block = layer.split(" · ")[0];
    const names = kernelsOf(run, block).filter((name) => run.maps[`${name}.offset`]);
    const { width: columns, height: rows } = run.photo;
    const marks = [];
    const lines = names.map((name, branch) => {
      const tone = TONES[branch % TONES.length];
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
          tone,
          weight: strength,
          block,
        });
      }
      const mean = (values) => values.reduce((sum, x) => sum + x, 0) / values.length;
      return {
        cells: [
          `Branch ${branch + 1}: ${side} × ${side}`,
          `${taps}`,
          mean(shifts).toFixed(3),
          Math.max(...shifts).toFixed(3),
          mean(weights).toFixed(3),
        ],
        tone,
      };
    });
    const columnNames = ["Kernel", "taps", "mean shift", "largest", "mean weight"];
    return {
      marks: marks.reverse(),
      table: { caption: "At the pin; shifts in cells of this block's map", columns: columnNames, rows: lines },
    };
  },

  reference_tiles(run, { layer, pin }) {
    const places = [4, 3, 2, 1].map((stage) => placeInTiles(run, pin, stage));
    const shown = places.find(({ stage }) => layer.includes(`stage${stage}.`) || layer.includes(`stage ${stage}.`));
    return {
      marks: markTiles(run.photo, shown ?? places[3]),
      channels: Object.fromEntries(places.map((p) => [`stage ${p.stage}.tiles`, p.channels[0]])),
      table: {
        caption: "Where the pixel goes. The tile is boxed, dots are what one cell of the stage sees at once.",
        columns: [
          "Stage",
          "tiles",
          "tile's row, column",
          "x, y in the tile",
          "channels of red, green, blue",
          "the same before November 2024",
        ],
        rows: places.map((p) => ({
          cells: [
            `Stage ${p.stage}`,
            `${p.grid} × ${p.grid}`,
            `${p.down}, ${p.right}`,
            `${p.x}, ${p.y}`,
            p.channels.join(", "),
            p.old.join(", "),
          ],
          layer: `stage ${p.stage}.tiles`,
        })),
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
        caption:
          "Each mask against the whole network's own mask, cut at 0.5 into object (1) and background (0). The mean error of the whole network is not 0: its mask has soft edges. The mean change is against that soft mask.",
        columns: ["", "mean error", "IoU", "mean change"],
        rows,
      },
    };
  },
};

// Where the pinned pixel goes as the photo is cut into tiles for a stage: its tile, its place in it, and the channels
// that it becomes, now and in the old order.
function placeInTiles({ photo, size }, pin, stage) {
  const grid = 2 ** (stage + 1);
  const [high, wide] = [size[0] / grid, size[1] / grid];
  const [row, column] = [cell(pin[1], photo.height, size[0]), cell(pin[0], photo.width, size[1])];
  const [down, right] = [Math.floor(row / high), Math.floor(column / wide)];
  const channels = [0, 1, 2].map((colour) => (colour * grid + down) * grid + right);
  const old = [0, 1, 2].map((colour) => (right * grid + down) * 3 + colour);
  return { stage, grid, high, wide, down, right, y: row % high, x: column % wide, channels, old };
}

// Marks for such a place: the tiles over the photo with its own boxed, a dot at the same place in each, and one dot in
// the map of the tiles.
function markTiles({ width: columns, height: rows }, { stage, grid, wide, high, down, right, x, y }) {
  const [across, along] = [columns / grid, rows / grid];
  const layers = [`stage ${stage}.resized`, "photo"];
  const inside = [((x + 0.5) / wide) * across, ((y + 0.5) / high) * along];
  const marks = [];
  for (let i = 1; i < grid; i++) {
    marks.push({ kind: "line", x: i * across, y: 0, x2: i * across, y2: rows, tone: "grid", layers });
    marks.push({ kind: "line", x: 0, y: i * along, x2: columns, y2: i * along, tone: "grid", layers });
  }
  for (let j = 0; j < grid; j++) {
    for (let i = 0; i < grid; i++)
      marks.push({ kind: "point", x: i * across + inside[0], y: j * along + inside[1], tone: "two", layers });
  }
  marks.push({ kind: "box", x: right * across, y: down * along, width: across, height: along, tone: "one", layers });
  const tiles = [`stage ${stage}.tiles`, `decoder.stage${stage}.inward_reference`];
  marks.push({ kind: "point", x: inside[0] * grid, y: inside[1] * grid, tone: "two", layers: tiles });
  return marks;
}
