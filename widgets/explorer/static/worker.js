// The worker: holds the network and its last run, and answers the page's calls, each {id, name, options}.
import { readPhoto } from "./images.js";
import { sigmoid } from "./measures.js";
import { Run } from "./run.js";

let session = null;
let network = null;
let ort = null;
let photo = null;
let run = null;
let second = null; // another photo

const CALLS = {
  // Unpacks the runtime and builds the session; `fetched` are the packed bytes, by name, or addresses to fetch them from.
  async load({ description, files }) {
    network = description;
    const total = Object.values(files).reduce((sum, file) => sum + file.bytes, 0);
    let done = 0;
    const progress = (count) => {
      done += count;
      postMessage({ progress: Math.min(done / total, 1) });
    };
    const parts = {};
    for (const [name, file] of Object.entries(files)) parts[name] = await unpackFile(file, progress);
    const glue = URL.createObjectURL(new Blob([parts.glue], { type: "text/javascript" }));
    ort = await import(glue);
    URL.revokeObjectURL(glue);
    Object.assign(ort.env.wasm, { numThreads: 1, wasmBinary: parts.wasm.buffer });
    const options = {
      executionProviders: ["wasm"],
      externalData: [{ path: network.weights, data: parts.weights }],
      enableCpuMemArena: false,
    };
    session = await ort.InferenceSession.create(parts.graph, options);
    ort.env.wasm.wasmBinary = undefined;
    // The first run is slow, since the browser still compiles: nobody should wait for it.
    await compute(new Float32Array(3 * network.size[0] * network.size[1]), []);
    return { ready: true };
  },

  // Reads a photo and runs the network on it. `blob` is the photo's file; `off` the parts that are switched off.
  async run({ blob, off, channels }) {
    const started = performance.now();
    const next = await readPhoto(blob, network.size);
    const read = performance.now();
    const maps = await compute(next.image, off);
    const seconds = (performance.now() - read) / 1000;
    photo = next;
    keep(maps, off, null);
    // The whole network's mask is wanted later, by the ablation view.
    if (off.length) afterwards(async () => keep(maps, off, maskOf(await compute(next.image, [], ["logits"]))));
    return {
      width: photo.width,
      height: photo.height,
      bitmap: await createImageBitmap(photo.backdrop),
      seconds,
      reading: (read - started) / 1000,
      planes: run.firstPlanes(channels),
    };
  },

  // Runs the network again on the same photo.
  async rerun({ off, channels }) {
    const { whole } = run;
    const started = performance.now();
    const maps = await compute(photo.image, off);
    const seconds = (performance.now() - started) / 1000;
    keep(maps, off, off.length ? whole : null);
    return { seconds, planes: run.firstPlanes(channels) };
  },

  // Reads another photo, for the view of two. Its maps are computed when that view is opened.
  async second({ blob }) {
    second = await readPhoto(blob, network.size);
    run?.pairWith(null);
  },

  // The photo under the maps of a view, as a JPEG; `other`: the second one, stretched to the size of the first.
  async backdrop({ other }) {
    let canvas = photo.backdrop;
    if (other) {
      canvas = new OffscreenCanvas(canvas.width, canvas.height);
      canvas.getContext("2d").drawImage(second.backdrop, 0, 0, canvas.width, canvas.height);
    }
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
    return new Uint8Array(await blob.arrayBuffer());
  },

  async open({ view, channels }) {
    if (view === "paired" && second && !run.second)
      run.pairWith(runOf(second, await compute(second.image, run.off), null));
    return run.open(view, channels);
  },
  planes: ({ view, layer, channels }) => run.planes(view, layer, channels),
  react: ({ view, look }) => run.react(view, look),
  values: ({ layer }) => run.values(layer),
  mask: () => run.maskOfPhoto(),

  // PNG files of the photo's size: the mask in grey, and the photo with the mask as its transparency.
  async picture({ what }) {
    const { dims, data } = run.maskOfPhoto();
    const canvas = new OffscreenCanvas(dims[1], dims[0]);
    const context = canvas.getContext("2d");
    if (what === "cutout") context.drawImage(await photo.bitmap(), 0, 0);
    const image =
      what === "cutout" ? context.getImageData(0, 0, dims[1], dims[0]) : context.createImageData(dims[1], dims[0]);
    for (let i = 0; i < data.length; i++) {
      const level = Math.round(data[i] * 255);
      if (what === "cutout") image.data[4 * i + 3] = Math.round((image.data[4 * i + 3] * level) / 255);
      else image.data.set([level, level, level, 255], 4 * i);
    }
    context.putImageData(image, 0, 0);
    return canvas.convertToBlob({ type: "image/png" });
  },
};

const maskOf = (maps) => Float32Array.from(maps.logits.data, sigmoid);

const runOf = (of, maps, whole) =>
  new Run({ size: network.size, maps, seen: of.seen, image: of.image, photo: of, kernels: network.kernels, whole });

function keep(maps, off, whole) {
  run = Object.assign(runOf(photo, maps, whole), { off });
}

async function compute(image, off, wanted) {
  const [height, width] = network.size;
  const feeds = { image: new ort.Tensor("float32", image, [1, 3, height, width]) };
  for (const name of network.gates)
    feeds[`gate.${name}`] = new ort.Tensor("float32", Float32Array.of(off.includes(name) ? 0 : 1), []);
  const results = await session.run(feeds, ...(wanted ? [wanted] : []));
  const maps = {};
  for (const [name, tensor] of Object.entries(results)) maps[name] = { dims: tensor.dims.slice(1), data: tensor.data };
  return maps;
}

// A file as bytes, unpacked where it is still packed: some servers unpack .gz files themselves.
async function unpackFile({ text, url }, progress) {
  let bytes;
  if (text !== undefined) {
    bytes = Uint8Array.fromBase64
      ? Uint8Array.fromBase64(text)
      : Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
    progress(bytes.length);
  } else {
    const response = await fetch(url).catch(() => null);
    if (!response) throw new Error(`${url} cannot be loaded: is the connection there?`);
    if (!response.ok)
      throw new Error(`${url} cannot be loaded (${response.status}): the whole folder belongs on the server`);
    const pieces = [];
    for (let reader = response.body.getReader(), next; !(next = await reader.read()).done; ) {
      pieces.push(next.value);
      progress(next.value.length);
    }
    bytes = new Uint8Array(await new Blob(pieces).arrayBuffer());
  }
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// One call after the other, in the order in which they come. What fails beside a photo's file has broken the runtime.
let last = Promise.resolve();
const afterwards = (task) => {
  last = last.then(task);
};
onmessage = ({ data: { id, name, options } }) => {
  afterwards(async () => {
    try {
      postMessage({ id, result: await CALLS[name](options ?? {}) });
    } catch (error) {
      const fatal = ["load", "run", "rerun"].includes(name) && error?.name !== "PhotoError";
      postMessage({ id, error: error?.message || String(error), fatal });
    }
  });
};
