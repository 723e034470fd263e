// All channels of a layer in one picture: principal components as colours, segments by k-means, the norm. The twin of
// birefnet_lite/analysis/summaries.py, which tests hold it to.
import { LEVELS } from "../../static/core.js";

const SPARE = 8; // directions beside those that are wanted, with which the search for them is fast
const ROUNDS = 400;
const CLOSE = 1e-10; // of the largest variance
const SAMPLED = 4096; // cells from which k-means learns its centres
const KMEANS_ROUNDS = 12;
// As in widgets/view_setup.py: colours that colour-blind eyes tell apart too (Okabe and Ito).
const SEGMENTS = [
  [0, 114, 178],
  [230, 159, 0],
  [0, 158, 115],
  [204, 121, 167],
  [240, 228, 66],
  [213, 94, 0],
];
export const COMPONENTS = SEGMENTS.length;

// The pictures that a layer of `cells` cells has, in order.
export const labelsOf = (cells) => [
  "PCA: the first three components as red, green and blue",
  ...Array.from({ length: Math.min(COMPONENTS, cells) - 1 }, (_, i) => `${i + 2} segments of alike cells (k-means)`),
];

// The principal components of maps {dims: [C, h, w], data} of one layer, or of several that share their channels:
// {mean, components, explained, low, high}; the largest entry of each component is positive.
export function fitBasis(several, count = 3) {
  const [channels] = several[0].dims;
  const sizes = several.map(({ dims }) => dims[1] * dims[2]);
  const cells = sizes.reduce((sum, size) => sum + size, 0);
  const mean = new Float64Array(channels);
  const rows = Array.from({ length: channels }, (_, c) => {
    const row = new Float64Array(cells);
    let at = 0;
    several.forEach(({ data }, i) => {
      for (let j = 0; j < sizes[i]; j++) row[at++] = finite(data[c * sizes[i] + j]);
    });
    mean[c] = row.reduce((sum, x) => sum + x, 0) / cells;
    return row.map((x) => x - mean[c]);
  });
  const wide = channels <= cells;
  const vectors = wide ? rows : Array.from({ length: cells }, (_, j) => Float64Array.from(rows, (row) => row[j]));
  const gram = vectors.map((a, i) => Float64Array.from(vectors.slice(0, i + 1), (b) => dot(a, b)));
  const matrix = gram.map((_, i) => Float64Array.from(gram, (_, j) => (j <= i ? gram[i][j] : gram[j][i])));
  const found = leading(matrix, Math.min(count, channels, cells));
  const components = found.vectors.map((vector) => {
    const component = wide ? vector : Float64Array.from(rows, (row) => dot(row, vector));
    const largest = component.reduce((best, x) => (Math.abs(x) > Math.abs(best) ? x : best), 0);
    const length = Math.max(Math.sqrt(dot(component, component)), 1e-12);
    return component.map((x) => (largest < 0 ? -x : x) / length);
  });
  const total = Math.max(
    rows.reduce((sum, row) => sum + dot(row, row), 0),
    1e-30,
  );
  const ranges = components.map((component) => {
    const values = new Float64Array(cells);
    component.forEach((weight, c) => {
      const row = rows[c];
      for (let j = 0; j < cells; j++) values[j] += weight * row[j];
    });
    values.sort();
    return [percentile(values, 0.01), percentile(values, 0.99)];
  });
  return {
    mean,
    components,
    explained: found.values.map((value) => Math.max(value, 0) / total),
    low: ranges.map(([low]) => low),
    high: ranges.map(([, high]) => high),
  };
}

// Maps as their projections, one array of h · w numbers a component.
export function project({ dims, data }, { mean, components }) {
  const size = dims[1] * dims[2];
  return components.map((component) => {
    const out = new Float64Array(size);
    component.forEach((weight, c) => {
      for (let i = 0; i < size; i++) out[i] += weight * (finite(data[c * size + i]) - mean[c]);
    });
    return out;
  });
}

// One picture of a layer as a plane of colours: the first is the components, the others are segments.
export function colourPlane({ dims }, projected, basis, picture) {
  const [, height, width] = dims;
  const colours = picture ? segmentColours(projected, picture + 1) : componentColours(projected, basis);
  const codes = Uint16Array.from(
    { length: height * width },
    (_, i) => ((colours[3 * i] >> 3) << 11) | ((colours[3 * i + 1] >> 2) << 5) | (colours[3 * i + 2] >> 3),
  );
  return { codes, lo: 0, hi: LEVELS, width, height };
}

export function componentColours(projected, { low, high }) {
  const out = new Uint8Array(3 * projected[0].length).fill(128);
  projected.slice(0, 3).forEach((values, c) => {
    const spread = Math.max(high[c] - low[c], 1e-12);
    values.forEach((x, i) => {
      out[3 * i + c] = Math.floor(Math.min(Math.max((x - low[c]) / spread, 0), 1) * 255 + 0.5);
    });
  });
  return out;
}

const segmentColours = (projected, count) =>
  Uint8Array.from([...segmentsOf(projected, count)].flatMap((number) => SEGMENTS[number]));

// Cells grouped by k-means, largest group first. The centres start far from one another, always in the same way.
export function segmentsOf(projected, count) {
  const size = projected[0].length;
  const points = Array.from({ length: size }, (_, i) => projected.map((values) => values[i]));
  const step = Math.max(1, Math.floor(size / SAMPLED));
  const sample = points.filter((_, i) => i % step === 0);
  const middle = averageOf(sample);
  const centres = [sample[extreme(sample, (point) => -apart(point, middle))]];
  const nearest = new Float64Array(sample.length).fill(Infinity);
  while (centres.length < count) {
    sample.forEach((point, i) => {
      nearest[i] = Math.min(nearest[i], apart(point, centres.at(-1)));
    });
    centres.push(sample[extreme(sample, (_, i) => nearest[i])]);
  }
  const groupOf = (point) => extreme(centres, (centre) => -apart(point, centre));
  for (let round = 0; round < KMEANS_ROUNDS; round++) {
    const groups = sample.map(groupOf);
    for (let i = 0; i < count; i++) {
      const inside = sample.filter((_, j) => groups[j] === i);
      if (inside.length) centres[i] = averageOf(inside);
    }
  }
  const groups = points.map(groupOf);
  const counts = Array.from({ length: count }, (_, i) => groups.filter((group) => group === i).length);
  const order = counts.map((_, i) => i).sort((a, b) => counts[b] - counts[a] || a - b);
  return groups.map((group) => order.indexOf(group));
}

// The Euclidean norm over channels, {dims: [1, h, w], data}.
export function normOf({ dims, data }) {
  const [channels, height, width] = dims;
  const size = height * width;
  const sums = new Float64Array(size);
  for (let c = 0; c < channels; c++) for (let i = 0; i < size; i++) sums[i] += data[c * size + i] ** 2;
  return { dims: [1, height, width], data: Float32Array.from(sums, Math.sqrt) };
}

const finite = (x) => (Number.isFinite(x) ? x : 0);
function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}
const apart = (a, b) => a.reduce((sum, x, i) => sum + (x - b[i]) ** 2, 0);
const averageOf = (points) => points[0].map((_, k) => points.reduce((sum, point) => sum + point[k], 0) / points.length);
function extreme(items, score) {
  let [best, at] = [-Infinity, 0];
  items.forEach((item, i) => {
    const value = score(item, i);
    if (value > best) [best, at] = [value, i];
  });
  return at;
}
function percentile(sorted, fraction) {
  const position = fraction * (sorted.length - 1);
  const below = Math.floor(position);
  const above = sorted[Math.min(below + 1, sorted.length - 1)];
  return sorted[below] + (above - sorted[below]) * (position - below);
}

// The `count` largest eigenvalues of a symmetric matrix and their vectors, by subspace iteration with Rayleigh-Ritz.
function leading(matrix, count) {
  const size = matrix.length;
  let seed = 1;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647 - 0.5;
  let basis = Array.from({ length: Math.min(count + SPARE, size) }, () => Float64Array.from({ length: size }, random));
  let values = [];
  for (let round = 0; round < ROUNDS; round++) {
    orthonormalise(basis);
    const images = basis.map((vector) => Float64Array.from(matrix, (row) => dot(row, vector)));
    const small = basis.map((a) => Float64Array.from(images, (b) => dot(a, b)));
    const ritz = jacobi(small);
    values = ritz.values;
    const combine = (set) =>
      ritz.vectors.map((weights) => {
        const out = new Float64Array(size);
        weights.forEach((weight, k) => {
          for (let i = 0; i < size; i++) out[i] += weight * set[k][i];
        });
        return out;
      });
    basis = combine(basis);
    const turned = combine(images);
    const residual = (k) =>
      Math.sqrt(
        apart(
          turned[k],
          basis[k].map((x) => x * values[k]),
        ),
      );
    if (values.slice(0, count).every((_, k) => residual(k) <= CLOSE * Math.max(values[0], 1e-30))) break;
    if (round < ROUNDS - 1) basis = turned;
  }
  return { values: values.slice(0, count), vectors: basis.slice(0, count) };
}

function orthonormalise(vectors) {
  vectors.forEach((vector, k) => {
    for (let twice = 0; twice < 2; twice++) {
      for (const other of vectors.slice(0, k)) {
        const shared = dot(vector, other);
        for (let i = 0; i < vector.length; i++) vector[i] -= shared * other[i];
      }
    }
    const length = Math.sqrt(dot(vector, vector));
    for (let i = 0; i < vector.length; i++) vector[i] = length > 1e-300 ? vector[i] / length : 0;
  });
}

// All eigenvalues of a small symmetric matrix, largest first, by Jacobi's rotations.
function jacobi(matrix) {
  const size = matrix.length;
  const a = matrix.map((row) => Float64Array.from(row));
  const vectors = a.map((_, i) => Float64Array.from(a, (_, j) => (i === j ? 1 : 0)));
  for (let sweep = 0; sweep < 30; sweep++) {
    for (let p = 0; p < size; p++) {
      for (let q = p + 1; q < size; q++) {
        if (Math.abs(a[p][q]) < 1e-300) continue;
        const slope = (a[q][q] - a[p][p]) / (2 * a[p][q]);
        const t = Math.sign(slope || 1) / (Math.abs(slope) + Math.hypot(slope, 1));
        const c = 1 / Math.hypot(t, 1);
        const s = t * c;
        for (let k = 0; k < size; k++) [a[k][p], a[k][q]] = [c * a[k][p] - s * a[k][q], s * a[k][p] + c * a[k][q]];
        for (let k = 0; k < size; k++) [a[p][k], a[q][k]] = [c * a[p][k] - s * a[q][k], s * a[p][k] + c * a[q][k]];
        for (let k = 0; k < size; k++)
          [vectors[p][k], vectors[q][k]] = [
            c * vectors[p][k] - s * vectors[q][k],
            s * vectors[p][k] + c * vectors[q][k],
          ];
      }
    }
  }
  const order = a.map((_, i) => i).sort((i, j) => a[j][j] - a[i][i]);
  return { values: order.map((i) => a[i][i]), vectors: order.map((i) => vectors[i]) };
}
