// Shared state of the page's modules: its data, the photo on show, and the elements that they write into.
export const data = JSON.parse(document.getElementById("data").textContent);
export const root = document.querySelector("[data-explorer]");
export const at = (name) => root.querySelector(`[data-at="${name}"]`);

export const app = {
  source: null, // answers for the run on show: open, planes, react, values, mask
  photo: null, // {width, height, blob, name, sample, bitmap, ratio, facts, backdrop()}
  live: false, // whether the run on show was made here
  part: "logits",
  view: data.views[0].scene.view,
  show: "photo", // what the result shows: photo, cutout or mask
  looks: {}, // how each view was looked at
  channels: { ...data.part.look.channels }, // which one each map of the network shows
  map: null, // the map of the network
  widget: null, // the front end of the views
  ask: null, // ask(wish): runs the network
  switchParts: null, // switchParts(off): the parts that are off from now on, and a run
};

// States: recorded, loading, ready, running, done, error.
export function setState(state, text) {
  root.dataset.state = state;
  at("run-pill").dataset.kind = state;
  at("progress").hidden = state !== "loading";
  say(text);
}
export const say = (text) => {
  at("status").textContent = text;
};

export function showProgress(share) {
  at("progress").value = share;
  if (root.dataset.state === "loading") say(`The network is loading … ${Math.round(100 * share)} %`);
}

// A sentence that says what to do; what is on show stays as it is.
export function warn(text, { restart = false } = {}) {
  at("alert-text").textContent = text;
  at("restart").hidden = !restart;
  at("alert").hidden = false;
}
export function complain(error) {
  if (!error?.told) console.error(error);
  warn(error?.message || String(error), { restart: Boolean(error?.fatal) });
  setState("error", "Something went wrong.");
}
export const calm = () => {
  at("alert").hidden = true;
};

export const painted = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));

// For benchmarks/explorer.py: how long something took in the page, in milliseconds since the page was opened.
export const measure = (name, start, detail = {}) =>
  performance.measure(name, { start, end: performance.now(), detail });

// What an element of the page, or a file beside it, holds packed.
export function unpackText(id) {
  const text = document.getElementById(id).textContent.trim();
  return unpack(Uint8Array.fromBase64?.(text) ?? Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0)));
}
export async function unpackUrl(url) {
  const response = await fetch(url).catch(() => null);
  if (!response?.ok) throw new Error(`${url} cannot be loaded. The whole folder belongs on the server.`);
  return unpack(new Uint8Array(await response.arrayBuffer()));
}
async function unpack(bytes) {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes; // some servers unpack .gz files themselves
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const SAMPLES = new Map();
export function blobOf(sample) {
  if (!SAMPLES.has(sample.name)) {
    const bytes = Uint8Array.from(atob(sample.data), (sign) => sign.charCodeAt(0));
    SAMPLES.set(sample.name, new Blob([bytes], { type: "image/jpeg" }));
  }
  return SAMPLES.get(sample.name);
}
