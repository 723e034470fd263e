// The look (layer, channel, pin, colours …) and the steps from one look to the next. Its fields are those of widgets/look.py.
import { cell, cellCentre, clamp, limitsOf, rank, STATISTICS } from "./core.js";
import { MASK_AS } from "./mask.js";

export const RANGES = ["map", "layer", "all", "own"];
export const SORTS = ["detail", "variance", "mean", "max", "agreement", "index"];

export const layerOf = (scene, name) => scene.layers.find((layer) => layer.name === name);

// A channel in words: in a film, the step that it shows. The twin of `Scene.channel_name`.
export function channelName(scene, layer, channel) {
  if (!scene.linked) return `channel ${channel}`;
  return layer.labels?.[channel] ?? (layer.channels === 1 ? "the same at all steps" : `step ${channel}`);
}

// The channels of a layer in the order the atlas shows them.
export function channelOrder(layer, statistics, sort) {
  const row = STATISTICS.indexOf(sort);
  if (row < 0 || !statistics) return Array.from({ length: layer.channels }, (_, i) => i);
  return rank(statistics.subarray(row * layer.channels, (row + 1) * layer.channels));
}

// The limits that a plane is drawn with. One's own hold for the layer in focus and those beside it. `statistics` (layer to
// rows of numbers) gives the ranges of layers that share one.
export function limitsFor(scene, look, plane, statistics) {
  const layer = layerOf(scene, plane.layer);
  if (plane.alike) return [-1, 1];
  const beside = layerOf(scene, look.layer)?.group ?? [look.layer];
  if (look.range === "own" && look.limits?.length === 2 && beside.includes(plane.layer))
    return [look.limits[0], look.limits[1]];
  if (layer.limits) return [...layer.limits];
  let [lo, hi] = [plane.lo, plane.hi];
  for (const other of layer.shares ?? []) {
    const rows = statistics?.get(other);
    const { channels } = layerOf(scene, other);
    if (!rows || plane.channel >= channels) continue;
    lo = Math.min(lo, rows[plane.channel]);
    hi = Math.max(hi, rows[channels + plane.channel]);
  }
  if (look.range === "layer") [lo, hi] = layer.range;
  if (look.range === "all") {
    const all = scene.layers.filter((other) => other.kind === layer.kind).map((other) => other.range);
    lo = Math.min(...all.map((range) => range[0]));
    hi = Math.max(...all.map((range) => range[1]));
  }
  return limitsOf(layer.kind, lo, hi);
}

// Why a layer is drawn with its limits, in a sentence.
export function explainRange(scene, look, name) {
  const layer = layerOf(scene, name);
  if (look.range === "own" && look.limits?.length === 2) return "Your own limits.";
  const when = scene.linked ? "at all steps" : "before and after each change";
  if (layer.limits) return `Fixed limits: a colour means the same number ${when}.`;
  if (layer.kind === "unit") return "Always 0 to 1: no value can lie outside.";
  const middle = layer.kind === "signed" ? ", with 0 in the middle" : "";
  if (look.range === "layer") return `One range for all channels of this layer${middle}.`;
  if (look.range === "all") return `One range for all layers of this kind${middle}: their colours compare.`;
  if (layer.shares?.length) return `One range for the pictures that add up or are compared${middle}.`;
  return layer.kind === "signed"
    ? "The largest value of this map to both sides, with 0 in the middle."
    : "From the lowest to the highest value of this map.";
}

export function coloursFor(scene, look, name) {
  if (layerOf(scene, name).kind === "colour") return "picture";
  if (look.colormap !== "auto") return look.colormap;
  return layerOf(scene, name).kind === "signed" ? "RdBu" : "viridis";
}

// One step of looking. Returns a new look; what makes no sense leaves it as it was.
export function transition(scene, look, action) {
  const layer = layerOf(scene, look.layer);
  switch (action.type) {
    case "layer": {
      const next = layerOf(scene, action.layer);
      if (!next) return look;
      const channel = scene.linked ? Math.min(look.channel, next.channels - 1) : (look.channels[next.name] ?? 0);
      return {
        ...look,
        layer: next.name,
        channel,
        ...(scene.linked ? { channels: { ...look.channels, [next.name]: channel } } : {}),
      };
    }
    case "channel": {
      const channel = clamp(Math.round(action.channel), 0, layer.channels - 1);
      return { ...look, channel, channels: { ...look.channels, [look.layer]: channel } };
    }
    case "beside":
      // In a film, the step beside the one that is shown.
      return { ...look, channels: { ...look.channels, beside: Math.max(0, Math.round(action.channel)) } };
    case "pin": {
      // A kernel lies nowhere in the photo.
      if (layer.taps && action.point) return look;
      if (!action.point) return { ...look, pin: [] };
      const { width, height } = scene.image;
      const [x, y] = action.point;
      if (!Number.isFinite(x) || !Number.isFinite(y)) return look;
      const within = (position, length) => (position < length ? Math.max(position, 0) : length - 1);
      return { ...look, pin: [within(x, width), within(y, height)] };
    }
    case "move": {
      const { width, height } = scene.image;
      const [x, y] = action.from;
      const column = clamp(cell(x, width, layer.width) + action.dx, 0, layer.width - 1);
      const row = clamp(cell(y, height, layer.height) + action.dy, 0, layer.height - 1);
      const point = [cellCentre(column, width, layer.width), cellCentre(row, height, layer.height)];
      return transition(scene, look, { type: "pin", point });
    }
    case "opacity":
      return { ...look, opacity: clamp(action.opacity, 0, 1) };
    case "mask_as":
      return MASK_AS.includes(action.mask_as) ? { ...look, mask_as: action.mask_as } : look;
    case "threshold":
      return { ...look, threshold: clamp(action.threshold, 0, 1) };
    case "ground":
      return /^(checker|#[0-9a-f]{6})$/i.test(action.ground) ? { ...look, ground: action.ground } : look;
    case "colormap":
      return scene.colormaps.includes(action.colormap) || action.colormap === "auto"
        ? { ...look, colormap: action.colormap }
        : look;
    case "range":
      return RANGES.includes(action.range) ? { ...look, range: action.range } : look;
    case "limits": {
      const [low, high] = action.limits;
      return Number.isFinite(low) && Number.isFinite(high) && low < high
        ? { ...look, range: "own", limits: [low, high] }
        : look;
    }
    case "sort":
      return SORTS.includes(action.sort) ? { ...look, sort: action.sort } : look;
    case "ablated":
      return { ...look, ablated: [...action.ablated] };
    case "zoom": {
      // `at` is the point that stays under the pointer, in parts of the picture.
      const scale = clamp(look.zoom[0] * action.factor, 1, 64);
      const [ax, ay] = action.at ?? [0.5, 0.5];
      const shift = (start, at) => clamp(start + at / look.zoom[0] - at / scale, 0, 1 - 1 / scale);
      return { ...look, zoom: [scale, shift(look.zoom[1], ax), shift(look.zoom[2], ay)] };
    }
    case "pan": {
      const [scale, x, y] = look.zoom;
      return { ...look, zoom: [scale, clamp(x + action.dx, 0, 1 - 1 / scale), clamp(y + action.dy, 0, 1 - 1 / scale)] };
    }
    case "reset-zoom":
      return { ...look, zoom: [1, 0, 0] };
    default:
      return look;
  }
}
