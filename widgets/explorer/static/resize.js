// Bilinear resizing with antialiasing, as Pillow does it: bytes to the last bit, floats to rounding.
// There are two passes, one along the rows and one along the columns; a pass that changes no size is left out.

// A weight of a byte is a whole number of 2 ** -22.
const PRECISION = 22;
const HALF = 2 ** (PRECISION - 1);

// For each of `to` pixels: the first of the `from` pixels that it is made of, and their weights, which sum to 1.
export function pixelWeights(from, to) {
  const scale = from / to;
  const support = Math.max(scale, 1); // half the width of the triangle
  const inverse = 1 / support;
  return Array.from({ length: to }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(from, Math.trunc(centre + support + 0.5));
    const parts = new Float64Array(last - first);
    let sum = 0;
    for (let x = 0; x < parts.length; x++) {
      parts[x] = Math.max(0, 1 - Math.abs((x + first - centre + 0.5) * inverse));
      sum += parts[x];
    }
    if (sum !== 0) for (let x = 0; x < parts.length; x++) parts[x] /= sum;
    return { first, parts };
  });
}

const inWholeNumbers = (taps) =>
  taps.map(({ first, parts }) => ({
    first,
    parts: Int32Array.from(parts, (part) => Math.trunc(part * 2 ** PRECISION + 0.5)),
  }));

// Rows of bytes, `stride` interleaved values a pixel, of which `channels` are kept: width to width2 pixels.
export function resizeByteRows(pixels, width, rows, stride, channels, width2) {
  const out = new Uint8Array(rows * width2 * channels);
  const taps = width2 === width ? null : inWholeNumbers(pixelWeights(width, width2));
  let to = 0;
  for (let y = 0; y < rows; y++) {
    const row = y * width * stride;
    for (let x = 0; x < width2; x++) {
      for (let c = 0; c < channels; c++) {
        if (!taps) out[to++] = pixels[row + x * stride + c];
        else {
          const { first, parts } = taps[x];
          let at = row + first * stride + c;
          let sum = HALF;
          for (let i = 0; i < parts.length; i++, at += stride) sum += pixels[at] * parts[i];
          out[to++] = sum >> PRECISION; // below 2 ** 31, so that the shift is exact
        }
      }
    }
  }
  return out;
}

// Whether Pillow (13) shrinks the columns before the rows. Bytes are rounded in between, so that the order can be seen.
export const columnsFirst = (width, height, width2, height2) =>
  height > height2 && height - height2 > 2 * (width - width2);

// Columns of bytes, `row` values a row: height to height2 rows.
export function resizeByteColumns(pixels, row, height, height2) {
  if (height2 === height) return pixels;
  const out = new Uint8Array(row * height2);
  const sums = new Int32Array(row);
  inWholeNumbers(pixelWeights(height, height2)).forEach(({ first, parts }, y) => {
    sums.fill(HALF);
    for (let i = 0; i < parts.length; i++) {
      const at = (first + i) * row;
      for (let x = 0; x < row; x++) sums[x] += pixels[at + x] * parts[i];
    }
    for (let x = 0; x < row; x++) out[y * row + x] = sums[x] >> PRECISION;
  });
  return out;
}

export function resizeBytes(pixels, width, height, channels, width2, height2) {
  if (columnsFirst(width, height, width2, height2)) {
    const columns = resizeByteColumns(pixels, width * channels, height, height2);
    return resizeByteRows(columns, width, height2, channels, channels, width2);
  }
  const rows = resizeByteRows(pixels, width, height, channels, channels, width2);
  return resizeByteColumns(rows, width2 * channels, height, height2);
}

// One map of floats, width × height, to width2 × height2.
export function resizeFloats(values, width, height, width2, height2) {
  let rows = values;
  if (width2 !== width) {
    const taps = pixelWeights(width, width2);
    rows = new Float32Array(width2 * height);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width2; x++) {
        const { first, parts } = taps[x];
        let sum = 0;
        for (let i = 0; i < parts.length; i++) sum += values[y * width + first + i] * parts[i];
        rows[y * width2 + x] = sum;
      }
    }
  }
  if (height2 === height) return rows;
  const out = new Float32Array(width2 * height2);
  const sums = new Float64Array(width2);
  pixelWeights(height, height2).forEach(({ first, parts }, y) => {
    sums.fill(0);
    for (let i = 0; i < parts.length; i++) {
      const at = (first + i) * width2;
      for (let x = 0; x < width2; x++) sums[x] += rows[at + x] * parts[i];
    }
    out.set(sums, y * width2);
  });
  return out;
}

// Bilinear with aligned corners, as everywhere in the network: one map, width × height, to width2 × height2.
export function resizeAligned(values, width, height, width2, height2) {
  const axis = (from, to) => {
    const scale = to > 1 ? Math.fround((from - 1) / (to - 1)) : 0;
    return Array.from({ length: to }, (_, i) => {
      const at = Math.fround(i * scale); // in single precision, as PyTorch
      const low = Math.min(Math.floor(at), from - 1);
      return [low, Math.min(low + 1, from - 1), at - low];
    });
  };
  const out = new Float32Array(width2 * height2);
  const columns = axis(width, width2);
  axis(height, height2).forEach(([top, bottom, down], y) => {
    columns.forEach(([left, right, along], x) => {
      const above = values[top * width + left] * (1 - along) + values[top * width + right] * along;
      const below = values[bottom * width + left] * (1 - along) + values[bottom * width + right] * along;
      out[y * width2 + x] = above * (1 - down) + below * down;
    });
  });
  return out;
}

// RGBA bytes laid over white, in place, with Pillow's rounding.
export function layOverWhite(rgba) {
  for (let i = 0; i < rgba.length; i += 4) {
    const alpha = rgba[i + 3];
    if (alpha === 255) continue;
    for (let c = 0; c < 3; c++) {
      const sum = alpha ? (rgba[i + c] * alpha + 255 * (255 - alpha)) * 128 + 128 * 128 : 0;
      rgba[i + c] = alpha ? ((sum >> 8) + sum) >> 15 : 255;
    }
    rgba[i + 3] = 255;
  }
  return rgba;
}
