// The recorded run, which the page shows until its network has loaded.
import { readPhoto } from "./images.js";
import { Run } from "./run.js";
import { app, blobOf, data, unpackText } from "./state.js";

// Puts the recorded run on show. Returns the planes of the map.
export async function openRecorded() {
  const [sample] = data.samples;
  const blob = blobOf(sample);
  const [bytes, bitmap] = await Promise.all([unpackText("recorded"), createImageBitmap(blob)]);
  const { width, height } = bitmap;
  const maps = readMaps(bytes);
  const run = new Run({ size: data.network.size, maps, photo: { width, height }, kernels: data.network.kernels });
  app.photo = {
    width,
    height,
    blob,
    bitmap,
    name: sample.title,
    sample: sample.name,
    backdrop: async () => new Uint8Array(await blob.arrayBuffer()),
    ratio: width / height,
    facts: [`photo ${width} × ${height}, seen by the network as ${data.network.size.join(" × ")}`, "a recorded run"],
  };
  // Tiles and edges need the photo as the network sees it: read when they are first wanted.
  let seen = null;
  const complete = async (name, ...call) => {
    seen ??= readPhoto(blob, data.network.size).then((photo) =>
      Object.assign(run, { seen: photo.seen, image: photo.image }),
    );
    await seen;
    return run[name](...call);
  };
  app.source = {
    open: (...call) => complete("open", ...call),
    planes: (...call) => complete("planes", ...call),
    react: (...call) => complete("react", ...call),
    values: (layer) => complete("values", layer),
    mask: async () => run.maskOfPhoto(),
  };
  return run.firstPlanes(app.channels);
}

function readMaps(bytes) {
  const maps = Object.fromEntries(
    data.parts.map(({ name, shape }) => [name, { dims: shape, data: null, statistics: null, planes: new Map() }]),
  );
  for (const { kind, layer, channel, lo, hi, offset, length } of data.recorded) {
    const map = maps[layer];
    const piece = bytes.slice(offset, offset + length);
    if (kind === "statistics") {
      map.statistics = new Float32Array(piece.buffer);
      continue;
    }
    const [count, height, width] = map.dims;
    // Layers of one map have 16 bits, the others 8.
    const codes =
      count === 1 ? new Uint16Array(piece.buffer) : Uint16Array.from(piece, (code) => Math.round((code * 65530) / 255));
    map.planes.set(channel, { codes, lo, hi, width, height });
    if (count === 1) map.data = Float32Array.from(codes, (code) => lo + (code * (hi - lo)) / 65530);
  }
  return maps;
}
