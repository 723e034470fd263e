// The arithmetic of the viewer, without a page: the twin of widgets/planes.py. Tests hold the two to the same numbers, so
// every rounding here is the one stated there.
import { COLOUR_MAPS } from "./colour_maps.js";

export const LEVELS = 65530;
export const MINUS_INFINITY = 65533;
export const PLUS_INFINITY = 65534;
export const NOT_A_NUMBER = 65535;

export const MARKS = {
  NaN: [255, 0, 255],
  "+∞": [255, 0, 0],
  "-∞": [0, 0, 255],
  above: [255, 128, 0],
  below: [0, 200, 255],
};

export const STATISTICS = ["lo", "hi", "mean", "max", "variance", "agreement", "detail"];

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// A packed pixel as a little-endian Uint32 of RGBA, opaque.
const pack = (r, g, b) => ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;

export function codeValue(plane, code) {
  if (code === NOT_A_NUMBER) return NaN;
  if (code === PLUS_INFINITY) return Infinity;
  if (code === MINUS_INFINITY) return -Infinity;
  if (code === LEVELS) return plane.hi;
  return plane.lo + code * (plane.hi / LEVELS - plane.lo / LEVELS);
}

// The colour of each of the 65,536 codes of a plane, as packed pixels; `colours` is 256 × RGB.
export function colourTable(plane, limits, colours, table = new Uint32Array(65536)) {
  if (colours.length === 3 * 65536) {
    for (let code = 0; code < 65536; code++)
      table[code] = pack(colours[3 * code], colours[3 * code + 1], colours[3 * code + 2]);
    return table;
  }
  const [low, high] = limits;
  const packed = packColours(colours);
  const above = pack(...MARKS.above);
  const below = pack(...MARKS.below);
  const step = plane.hi / LEVELS - plane.lo / LEVELS;
  const span = high - low;
  for (let code = 0; code <= LEVELS; code++) {
    const value = code === LEVELS ? plane.hi : plane.lo + code * step;
    if (value > high) table[code] = above;
    else if (value < low) table[code] = below;
    else table[code] = packed[span > 0 ? Math.floor(((value - low) / span) * 255 + 0.5) : 128];
  }
  for (let code = LEVELS + 1; code < 65536; code++) table[code] = pack(...MARKS.NaN);
  table[PLUS_INFINITY] = pack(...MARKS["+∞"]);
  table[MINUS_INFINITY] = pack(...MARKS["-∞"]);
  return table;
}

// The 256 colours of a map by name, 256 × RGB.
export function colourMap(name) {
  const text = COLOUR_MAPS[name];
  return Uint8Array.from({ length: 768 }, (_, i) => parseInt(text.slice(2 * i, 2 * i + 2), 16));
}

// The colour of each code of a plane that holds a picture: five bits of red, six of green, five of blue.
export function pictureTable() {
  const table = new Uint8Array(3 * 65536);
  for (let code = 0; code < 65536; code++) {
    table[3 * code] = Math.floor(((code >> 11) * 255) / 31);
    table[3 * code + 1] = Math.floor((((code >> 5) & 63) * 255) / 63);
    table[3 * code + 2] = Math.floor(((code & 31) * 255) / 31);
  }
  return table;
}

// The cosine of every cell's channels with those of the cell `at`, as a plane over -1 to 1; 0 for empty cells.
export function similarity(planes, at) {
  const [{ width, height, codes }] = planes;
  // The largest value that rounding to codes can leave in an empty cell.
  const noise = planes.reduce((sum, plane) => sum + quantumOf(plane) ** 2, 0);
  const [products, squares] = [new Float64Array(codes.length), new Float64Array(codes.length)];
  for (const plane of planes) {
    const step = plane.hi / LEVELS - plane.lo / LEVELS;
    const value = (code) => (code > LEVELS ? 0 : plane.lo + code * step);
    const chosen = value(plane.codes[at]);
    for (let i = 0; i < codes.length; i++) {
      const other = value(plane.codes[i]);
      products[i] += other * chosen;
      squares[i] += other * other;
    }
  }
  const out = new Uint16Array(codes.length);
  for (let i = 0; i < out.length; i++) {
    const size = Math.sqrt(squares[i] * squares[at]);
    out[i] = Math.floor(
      ((squares[i] > noise && squares[at] > noise ? clamp(products[i] / size, -1, 1) : 0) / 2 + 0.5) * LEVELS + 0.5,
    );
  }
  return { codes: out, lo: -1, hi: 1, width, height };
}

function packColours(colours) {
  const packed = new Uint32Array(256);
  for (let i = 0; i < 256; i++) packed[i] = pack(colours[3 * i], colours[3 * i + 1], colours[3 * i + 2]);
  return packed;
}

export function limitsOf(kind, lo, hi) {
  if (kind === "unit") return [0, 1];
  if (kind === "signed") {
    const top = Math.max(Math.abs(lo), Math.abs(hi));
    return [-top, top];
  }
  return [lo, hi];
}

// The map in colour at its own size.
export function paint(plane, table, out) {
  const codes = plane.codes;
  for (let i = 0; i < codes.length; i++) out[i] = table[codes[i]];
  return out;
}

// The map over a photo of width × height, packed pixels; every cell of the map stays a sharp block.
export function overlay(plane, table, photo, width, height, opacity, out) {
  const weight = Math.floor(clamp(opacity, 0, 1) * 255 + 0.5);
  const rest = 255 - weight;
  const columns = cells(width, plane.width);
  const { codes } = plane;
  for (let y = 0; y < height; y++) {
    const row = Math.floor((y * plane.height) / height) * plane.width;
    const start = y * width;
    for (let x = 0; x < width; x++) {
      const heat = table[codes[row + columns[x]]];
      // (v · 32897) >>> 23 is v / 255 rounded down for every v below 65536, without a division.
      const under = photo[start + x];
      const r = (((heat & 255) * weight + (under & 255) * rest + 127) * 32897) >>> 23;
      const g = ((((heat >>> 8) & 255) * weight + ((under >>> 8) & 255) * rest + 127) * 32897) >>> 23;
      const b = ((((heat >>> 16) & 255) * weight + ((under >>> 16) & 255) * rest + 127) * 32897) >>> 23;
      out[start + x] = ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
    }
  }
  return out;
}

// A smaller copy of packed pixels: the nearest one for each pixel of the copy.
export function shrink(photo, width, height) {
  const out = new Uint32Array(width * height);
  const columns = cells(width, photo.width);
  for (let y = 0; y < height; y++) {
    const row = Math.floor((y * photo.height) / height) * photo.width;
    for (let x = 0; x < width; x++) out[y * width + x] = photo.pixels[row + columns[x]];
  }
  return out;
}

// A small copy of a map: the nearest cell for each pixel of the copy.
export function thumbnail(plane, table, width, height, out) {
  const columns = cells(width, plane.width);
  for (let y = 0; y < height; y++) {
    const row = Math.floor((y * plane.height) / height) * plane.width;
    for (let x = 0; x < width; x++) out[y * width + x] = table[plane.codes[row + columns[x]]];
  }
  return out;
}

export function cells(length, count) {
  const out = new Uint16Array(length);
  for (let i = 0; i < length; i++) out[i] = Math.floor((i * count) / length);
  return out;
}

export const cell = (position, length, count) => clamp(Math.floor((position * count) / length), 0, count - 1);
export const cellCentre = (index, length, count) => ((index + 0.5) * length) / count;

// Indices from the largest value to the smallest; equal values keep their order, NaN comes last.
export function rank(values) {
  const key = (v) => (Number.isNaN(v) ? -Infinity : v);
  return Array.from(values.keys()).sort((a, b) =>
    key(values[b]) > key(values[a]) ? 1 : key(values[b]) < key(values[a]) ? -1 : a - b,
  );
}

// Which of the marks a painted map contains, with how many pixels each. Most maps contain none: that is found out once.
export function countMarks(plane, limits) {
  const [low, high] = limits;
  const { codes } = plane;
  const outside = plane.hi > high || plane.lo < low;
  plane.odd ??= hasOddCodes(codes);
  const counts = {};
  if (!outside && !plane.odd) return counts;
  const add = (name) => (counts[name] = (counts[name] ?? 0) + 1);
  const step = plane.hi / LEVELS - plane.lo / LEVELS;
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i];
    if (code <= LEVELS) {
      if (!outside) continue;
      const value = code === LEVELS ? plane.hi : plane.lo + code * step;
      if (value > high) add("above");
      else if (value < low) add("below");
    } else add(code === PLUS_INFINITY ? "+∞" : code === MINUS_INFINITY ? "-∞" : "NaN");
  }
  return counts;
}

function hasOddCodes(codes) {
  for (let i = 0; i < codes.length; i++) if (codes[i] > LEVELS) return true;
  return false;
}

// A number with the digits that its plane can answer for: `quantum` is the step between neighbouring codes.
export function formatValue(value, quantum = 0) {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "+∞" : "−∞";
  const size = Math.abs(value);
  let text;
  if (size !== 0 && (size >= 1e6 || size < 1e-4) && !(quantum > size)) text = value.toExponential(3);
  else {
    const places = quantum > 0 ? clamp(Math.ceil(-Math.log10(quantum)), 0, 8) : size >= 100 ? 2 : 4;
    text = value.toFixed(places).replace(/^-(?=[0.]*$)/, "");
  }
  return text.replaceAll("-", "−");
}

// The same in at most four figures, for the small pictures.
export function shortValue(value, quantum = 0) {
  const size = Number.isFinite(value) && value ? Math.abs(value) : 1;
  return formatValue(value, Math.max(quantum, 10 ** (Math.floor(Math.log10(size)) - 3)));
}

export const quantumOf = (plane) => (plane.hi - plane.lo) / LEVELS;

// Takes the parts out of one packed buffer. Each part says where it lies; planes are views, not copies.
export function unpack(parts, buffer) {
  const bytes =
    buffer instanceof DataView
      ? buffer
      : new DataView(buffer.buffer ?? buffer, buffer.byteOffset ?? 0, buffer.byteLength);
  return parts.map((part) => {
    const start = bytes.byteOffset + part.offset;
    if (part.offset + part.length > bytes.byteLength) throw new Error("The data of this view is cut short.");
    // A view needs its start on a multiple of its element's size; a transport may have moved it.
    const raw = start % 4 === 0 ? [bytes.buffer, start] : [bytes.buffer.slice(start, start + part.length), 0];
    if (part.kind === "plane") {
      const codes = new Uint16Array(raw[0], raw[1], part.length / 2);
      return { ...part, codes };
    }
    if (part.kind === "statistics") return { ...part, values: new Float32Array(raw[0], raw[1], part.length / 4) };
    return { ...part, bytes: new Uint8Array(raw[0], raw[1], part.length) };
  });
}

// The planes the page holds, bounded: the least lately used go first, but never one that is pinned by `keep`.
export class PlaneCache {
  constructor(limit = 128 * 2 ** 20) {
    this.limit = limit;
    this.bytes = 0;
    this.planes = new Map();
  }
  static key(layer, channel) {
    return `${channel}@${layer}`;
  }
  has(layer, channel) {
    return this.planes.has(PlaneCache.key(layer, channel));
  }
  get(layer, channel) {
    const key = PlaneCache.key(layer, channel);
    const plane = this.planes.get(key);
    if (plane) {
      this.planes.delete(key);
      this.planes.set(key, plane);
    }
    return plane;
  }
  put(plane, keep = () => false) {
    const key = PlaneCache.key(plane.layer, plane.channel);
    this.bytes += plane.codes.byteLength - (this.planes.get(key)?.codes.byteLength ?? 0);
    this.planes.delete(key);
    this.planes.set(key, plane);
    for (const [old, other] of this.planes) {
      if (this.bytes <= this.limit) break;
      if (other === plane || keep(other.layer, other.channel)) continue;
      this.planes.delete(old);
      this.bytes -= other.codes.byteLength;
    }
  }
  drop(layer) {
    for (const [key, plane] of this.planes) {
      if (plane.layer !== layer) continue;
      this.planes.delete(key);
      this.bytes -= plane.codes.byteLength;
    }
  }
}
