// A soft mask as people use it, without a page: the twin of widgets/mask_drawing.py.
import { cells, clamp, LEVELS, PLUS_INFINITY } from "./core.js";

// How a mask is drawn over the photo: in colours, as a line at the threshold, or as a cut-out with the mask's soft edges or
// cut at the threshold. Python reads this list too.
export const MASK_AS = ["colours", "outline", "soft cut-out", "hard cut-out"];

const CHECKER = [255, 204];
const SQUARES = 40;
const MOST_SEGMENTS = 60_000;

// The value of a layer at which its mask is cut.
export const levelOf = (mask, threshold) => (mask === "logits" ? Math.log(threshold / (1 - threshold)) : threshold);

const valueOf = (plane) => {
  const step = plane.hi / LEVELS - plane.lo / LEVELS;
  return (code) => (code === LEVELS ? plane.hi : plane.lo + code * step);
};

// Whether each code of a plane lies above a level; NaN does not.
function aboveTable(plane, level) {
  const value = valueOf(plane);
  const table = new Uint8Array(65536);
  for (let code = 0; code <= LEVELS; code++) table[code] = value(code) > level ? 1 : 0;
  table[PLUS_INFINITY] = level < Infinity ? 1 : 0;
  return table;
}

// How opaque (0 to 255) each code of a mask is; with a threshold, either 0 or 255. NaN is 0.
export function alphaTable(plane, mask, threshold = null) {
  if (threshold !== null) return aboveTable(plane, levelOf(mask, threshold)).map((above) => 255 * above);
  const value = valueOf(plane);
  const table = new Uint8Array(65536);
  for (let code = 0; code <= LEVELS; code++) {
    const x = value(code);
    table[code] = Math.floor(clamp(mask === "logits" ? 1 / (1 + Math.exp(-x)) : x, 0, 1) * 255 + 0.5);
  }
  table[PLUS_INFINITY] = 255;
  return table;
}

// The photo where the mask is opaque, over a checker or a colour (#rrggbb).
export function cutOut(plane, alpha, photo, width, height, ground, out) {
  const columns = cells(width, plane.width);
  const side = Math.max(1, Math.floor(width / SQUARES));
  const fixed = ground === "checker" ? null : [1, 3, 5].map((i) => parseInt(ground.slice(i, i + 2), 16));
  for (let y = 0; y < height; y++) {
    const row = Math.floor((y * plane.height) / height) * plane.width;
    for (let x = 0; x < width; x++) {
      const weight = alpha[plane.codes[row + columns[x]]];
      const rest = 255 - weight;
      const grey = CHECKER[(Math.floor(y / side) + Math.floor(x / side)) % 2];
      const [red, green, blue] = fixed ?? [grey, grey, grey];
      const over = photo[y * width + x];
      const r = (((over & 255) * weight + red * rest + 127) * 32897) >>> 23;
      const g = ((((over >>> 8) & 255) * weight + green * rest + 127) * 32897) >>> 23;
      const b = ((((over >>> 16) & 255) * weight + blue * rest + 127) * 32897) >>> 23;
      out[y * width + x] = ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
    }
  }
  return out;
}

// The lines at a level as [x1, y1, x2, y2, …] in parts of the picture: marching squares over the centres of the cells.
// Where two corners on a diagonal are high, each has a line of its own. A mask of noise is read at every second cell.
export function findOutline(plane, level) {
  for (let step = 1; ; step *= 2) {
    const found = march(plane, level, step);
    if (found.length <= 4 * MOST_SEGMENTS || step > 16) return found;
  }
}

function march(plane, level, step) {
  const { width, height, codes } = plane;
  const out = [];
  if (!Number.isFinite(level)) return out;
  const value = valueOf(plane);
  const high = aboveTable(plane, level);
  const crossing = (from, to) => ((level - value(from)) / (value(to) - value(from))) * step;
  for (let row = 0; row + step < height; row += step) {
    for (let column = 0; column + step < width; column += step) {
      const at = row * width + column;
      const [ul, ur] = [codes[at], codes[at + step]];
      const [ll, lr] = [codes[at + step * width], codes[at + step * width + step]];
      const kind = high[ul] | (high[ur] << 1) | (high[ll] << 2) | (high[lr] << 3);
      if (!SIDES[kind] || Math.max(ul, ur, ll, lr) > LEVELS) continue;
      for (const sides of SIDES[kind]) {
        for (const side of sides) {
          const [x, y] =
            side === "t"
              ? [column + crossing(ul, ur), row]
              : side === "b"
                ? [column + crossing(ll, lr), row + step]
                : side === "l"
                  ? [column, row + crossing(ul, ll)]
                  : [column + step, row + crossing(ur, lr)];
          out.push((x + 0.5) / width, (y + 0.5) / height);
        }
      }
    }
  }
  return out;
}

// Which sides of a square its lines join, by the corners that are high: 1 upper left, 2 upper right, 4 and 8 below.
const SIDES = {
  1: ["tl"],
  2: ["tr"],
  3: ["lr"],
  4: ["lb"],
  5: ["tb"],
  6: ["tr", "lb"],
  7: ["rb"],
  8: ["rb"],
  9: ["tl", "rb"],
  10: ["tb"],
  11: ["lb"],
  12: ["lr"],
  13: ["tr"],
  14: ["tl"],
};

// The share of the picture above a level, and against a true mask IoU, precision and recall.
export function scoreMask(plane, level, truth = null, truthLevel = 0.5) {
  const over = aboveTable(plane, level);
  let chosen = 0;
  for (let i = 0; i < plane.codes.length; i++) chosen += over[plane.codes[i]];
  const share = chosen / plane.codes.length;
  if (!truth) return { share };
  const real = aboveTable(truth, truthLevel);
  const { width, height } = truth.codes.length > plane.codes.length ? truth : plane;
  const [columns, others] = [cells(width, plane.width), cells(width, truth.width)];
  let [both, picked, wanted] = [0, 0, 0];
  for (let y = 0; y < height; y++) {
    const row = Math.floor((y * plane.height) / height) * plane.width;
    const other = Math.floor((y * truth.height) / height) * truth.width;
    for (let x = 0; x < width; x++) {
      const a = over[plane.codes[row + columns[x]]];
      const b = real[truth.codes[other + others[x]]];
      picked += a;
      wanted += b;
      both += a & b;
    }
  }
  const either = picked + wanted - both;
  return {
    share,
    iou: either ? both / either : 1,
    precision: picked ? both / picked : NaN,
    recall: wanted ? both / wanted : NaN,
  };
}
