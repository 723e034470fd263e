// Recorded attributions of the sample photos: a page cannot compute gradients.
import { channelStatistics } from "./measures.js";
import { data, unpackText, unpackUrl } from "./state.js";

export const ATTRIBUTION = "attribution";

let opened = null;
const open = () => (opened ??= read());

async function read() {
  const bytes = await (data.gradients.url ? unpackUrl(data.gradients.url) : unpackText("gradients"));
  const end = bytes.indexOf(10);
  return { ...JSON.parse(new TextDecoder().decode(bytes.subarray(0, end))), bytes: bytes.subarray(end + 1) };
}

// The view as Python describes it.
export async function gradientTemplate() {
  const { scene, look } = await open();
  return { scene, look };
}

// The recorded attributions of a sample photo; null for other photos.
export async function gradientSource(sample) {
  const { parts, tables, scene, bytes } = await open();
  if (!tables[sample]) return null;
  const planes = new Map();
  for (const { photo, layer, lo, hi, offset, length } of parts) {
    if (photo !== sample) continue;
    const { width, height } = scene.layers.find(({ name }) => name === layer);
    const codes = Uint16Array.from(bytes.subarray(offset, offset + length), (code) => Math.round((code * 65530) / 255));
    planes.set(layer, { codes, lo, hi, width, height });
  }
  const statistics = ({ codes, lo, hi, width, height }) =>
    channelStatistics(
      Float32Array.from(codes, (code) => lo + (code * (hi - lo)) / 65530),
      1,
      height,
      width,
      null,
    );
  return {
    open: async (_, channels) =>
      Object.keys(channels).map((name) => ({
        name,
        statistics: statistics(planes.get(name)),
        planes: { 0: planes.get(name) },
      })),
    planes: async (_, layer) => ({ 0: planes.get(layer) }),
    react: async () => ({}),
    table: tables[sample],
  };
}
