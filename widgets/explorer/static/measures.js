// Computations for views from the network's maps: planes of 16 bits, statistics of channels, gradient targets, scores.
// Each function is the twin of a Python one, which tests hold it to.
import { LEVELS, MINUS_INFINITY, NOT_A_NUMBER, PLUS_INFINITY } from "../../static/core.js";
import { resizeAligned } from "./resize.js";

const SHADES = 32;
const SAMPLED = 32;

export const sigmoid = (x) => 1 / (1 + Math.exp(-x));

// The twin of planes.quantise: numbers to codes over the range of the finite ones.
export function quantise(values, width, height) {
  let lo = Infinity;
  let hi = -Infinity;
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (!Number.isFinite(value)) continue;
    if (value < lo) lo = value;
    if (value > hi) hi = value;
  }
  if (lo > hi) lo = hi = 0;
  const codes = new Uint16Array(values.length);
  const span = hi / 2 - lo / 2;
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (Number.isFinite(value)) codes[i] = hi > lo ? Math.floor(((value / 2 - lo / 2) / span) * LEVELS + 0.5) : 0;
    else codes[i] = Number.isNaN(value) ? NOT_A_NUMBER : value > 0 ? PLUS_INFINITY : MINUS_INFINITY;
  }
  return { codes, lo, hi, width, height };
}

// The twin of channel_ranking.channel_statistics for finite maps: seven rows (lo, hi, mean, max, variance, agreement, detail).
export function channelStatistics(values, channels, height, width, mask) {
  const out = new Float32Array(7 * channels);
  const size = height * width;
  const maskMean = mask ? mask.reduce((sum, x) => sum + x, 0) / size : 0;
  const spread = mask ? Math.sqrt(mask.reduce((sum, x) => sum + (x - maskMean) ** 2, 0) / size) : 0;
  const step = Math.max(1, Math.ceil(Math.max(height, width) / SAMPLED));
  for (let c = 0; c < channels; c++) {
    const map = values.subarray(c * size, (c + 1) * size);
    let [lo, hi, sum] = [Infinity, -Infinity, 0];
    for (let i = 0; i < size; i++) {
      const value = map[i];
      if (value < lo) lo = value;
      if (value > hi) hi = value;
      sum += value;
    }
    const mean = sum / size;
    let [squares, shared] = [0, 0];
    for (let i = 0; i < size; i++) {
      const apart = map[i] - mean;
      squares += apart * apart;
      if (spread) shared += apart * (mask[i] - maskMean);
    }
    const deviation = Math.sqrt(squares / size);
    const level = spread > 0 && deviation > 1e-6 * Math.max(Math.abs(mean), 1e-30);
    const agreement = level ? Math.min(Math.max(shared / size / (deviation * spread), -1), 1) : 0;
    [lo, hi, mean, hi, squares / size, agreement, entropy(map, height, width, step, lo, hi)].forEach(
      (value, row) => (out[row * channels + c] = value),
    );
  }
  return out;
}

function entropy(map, height, width, step, lo, hi) {
  const counts = new Uint32Array(SHADES);
  let total = 0;
  for (let y = 0; y < height; y += step) {
    for (let x = 0; x < width; x += step, total++) {
      const share = hi > lo ? (map[y * width + x] - lo) / (hi - lo) : 0;
      counts[Math.min(Math.trunc(share * SHADES), SHADES - 1)]++;
    }
  }
  let bits = 0;
  for (const count of counts) if (count) bits -= (count / total) * Math.log2(count / total);
  return bits;
}

// The 5 × 5 Laplacian of the mean over colours of an image (3, H, W): the mean of the neighbours less the centre, halved.
export function laplacian(image, height, width) {
  const size = height * width;
  const grey = new Float32Array(size);
  for (let i = 0; i < size; i++) grey[i] = (image[i] + image[size + i] + image[2 * size + i]) / 3;
  const mirror = (i, n) => (i < 0 ? -i : i >= n ? 2 * n - 2 - i : i);
  const rows = new Float64Array(size); // sums of five along a row
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let dx = -2; dx <= 2; dx++) sum += grey[y * width + mirror(x + dx, width)];
      rows[y * width + x] = sum;
    }
  }
  const out = new Float32Array(size);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let dy = -2; dy <= 2; dy++) sum += rows[mirror(y + dy, height) * width + x];
      const centre = grey[y * width + x];
      out[y * width + x] = (sum - centre) / 48 - centre / 2;
    }
  }
  return out;
}

// The target of the original's gradient heads, before its sigmoid.
export function gradientTarget(edges, height, width, side, sideHeight, sideWidth) {
  const logits = resizeAligned(side, sideWidth, sideHeight, width, height);
  return Float32Array.from(edges, (edge, i) => edge * logits[i]);
}

// The target that the paper describes: edges near the predicted object, in 0 to 1.
export function maskedGradientTarget(edges, height, width, side, sideHeight, sideWidth) {
  const size = Float32Array.from(edges, Math.abs);
  const scale = Math.max(percentile(size, 0.99), 1e-4);
  const logits = resizeAligned(side, sideWidth, sideHeight, width, height);
  const near = dilate(
    Uint8Array.from(logits, (x) => (x > 0 ? 1 : 0)),
    height,
    width,
    Math.max(1, roundHalfEven(height / 128)),
  );
  return size.map((edge, i) => (near[i] ? Math.min(edge / scale, 1) : 0));
}

// As Python rounds: halves go to the even number.
export const roundHalfEven = (x) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

function percentile(values, fraction) {
  const sorted = Float32Array.from(values).sort();
  const position = fraction * (sorted.length - 1);
  const below = Math.trunc(position);
  const low = sorted[below];
  return low + (sorted[Math.min(below + 1, sorted.length - 1)] - low) * (position - below);
}

function dilate(mask, height, width, radius) {
  const along = (source, count, length, at) => {
    const out = new Uint8Array(source.length);
    for (let line = 0; line < count; line++) {
      for (let i = 0; i < length; i++) {
        if (!source[at(line, i)]) continue;
        for (let j = Math.max(0, i - radius); j <= Math.min(length - 1, i + radius); j++) out[at(line, j)] = 1;
      }
    }
    return out;
  };
  const rows = along(mask, height, width, (y, x) => y * width + x);
  return along(rows, width, height, (x, y) => y * width + x);
}

// Mean absolute error and intersection over union of a soft mask against a soft truth, both cut at one half for the latter.
export function scores(mask, truth) {
  let [error, both, either, change] = [0, 0, 0, 0];
  for (let i = 0; i < mask.length; i++) {
    const [a, b] = [mask[i] > 0.5, truth[i] > 0.5];
    error += Math.abs(mask[i] - (b ? 1 : 0));
    change += Math.abs(mask[i] - truth[i]);
    if (a && b) both++;
    if (a || b) either++;
  }
  return { error: error / mask.length, iou: either ? both / either : 1, change: change / mask.length };
}
