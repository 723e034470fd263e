// The page: the recorded run at once, the network when it has loaded, one's own photos after that.
import { download, h } from "../../static/dom.js";
import { readPhoto } from "./images.js";
import { makeModel } from "./live_model.js";
import { NetworkMap } from "./network_map.js";
import { Run } from "./run.js";

const data = JSON.parse(document.getElementById("data").textContent);
const widget = (await importText(document.getElementById("views").textContent)).default;
const root = document.querySelector("[data-explorer]");
const at = (name) => root.querySelector(`[data-at="${name}"]`);

const app = {
  source: null, // answers for the run on show: open, planes, react, values, mask
  photo: null, // {width, height, backdrop, type, blob, name, facts}
  live: false, // whether the run on show was made here
  part: "logits",
  view: data.views[0].scene.view,
  looks: {},
  models: {},
  channels: { ...data.part.look.channels },
};

// ---- the worker ----

class Network {
  constructor() {
    const code = document.getElementById("worker").textContent;
    this.calls = new Map();
    this.worker = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
    this.worker.onmessage = ({ data: { id, result, error, progress } }) => {
      if (progress !== undefined) return showProgress(progress);
      const { done, fail } = this.calls.get(id);
      this.calls.delete(id);
      return error === undefined ? done(result) : fail(new Error(error));
    };
    this.worker.onerror = (event) => this.end(event.message);
  }
  call(name, options) {
    return new Promise((done, fail) => {
      const id = crypto.getRandomValues(new Uint32Array(1))[0];
      this.calls.set(id, { done, fail });
      this.worker.postMessage({ id, name, options });
    });
  }
  end(reason) {
    this.worker.terminate();
    for (const { fail } of this.calls.values())
      fail(
        new Error(
          `The network stopped (${reason || "for want of memory, perhaps"}). Reload the page, and close other tabs if it happens again.`,
        ),
      );
    this.calls.clear();
  }
}

let network = null;
let loading = null;

// The packed files of the network: carried by this page, or lying beside it.
function filesOfNetwork() {
  return Object.fromEntries(
    Object.entries(data.files).map(([name, { url, bytes }]) => {
      if (url) return [name, { url: new URL(url, location.href).href, bytes }];
      const element = document.getElementById(`file-${name}`);
      const { textContent } = element;
      element.remove();
      return [name, { text: textContent.trim(), bytes }];
    }),
  );
}

function loadNetwork() {
  loading ??= (async () => {
    setState("loading", "The network is loading …");
    network = new Network();
    await network.call("load", { description: data.network, files: filesOfNetwork() });
    network.ready = true;
    showProgress(1);
    setState(app.live ? "done" : "ready", "The network is ready. Choose a photo, or switch a part off.");
  })();
  return loading;
}

// ---- state ----

let state = "";
function setState(next, text) {
  state = next;
  root.dataset.state = next;
  at("status").textContent = text;
  at("progress").hidden = next !== "loading";
  at("run-pill").dataset.kind = next;
}
function showProgress(share) {
  at("progress").value = share;
  if (state === "loading") at("status").textContent = `The network is loading … ${Math.round(100 * share)} %`;
}
function complain(error) {
  console.error(error);
  at("alert").textContent = error.message;
  at("alert").hidden = false;
  setState("error", "Something went wrong.");
}
const painted = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));

// ---- runs ----

let busy = null;
let waiting = null;

// Runs the network on a photo, or again on the one that is there. While it runs, only the last wish is kept.
function ask(wish) {
  waiting = { ...waiting, ...wish };
  busy ??= work().finally(() => (busy = null));
  return busy;
}

async function work() {
  while (waiting) {
    const wish = waiting;
    waiting = null;
    try {
      at("alert").hidden = true;
      at("queue").hidden = Boolean(network?.ready);
      await loadNetwork();
      at("queue").hidden = true;
      setState("running", "The network is at work …");
      await painted();
      await runOnce(wish);
    } catch (error) {
      at("queue").hidden = true;
      complain(error);
    }
  }
}

async function runOnce({ blob, name }) {
  const off = map.off;
  const fresh = Boolean(blob) || !app.live;
  let told;
  if (fresh) {
    const file = blob ?? app.photo.blob;
    told = await network.call("run", { blob: file, off });
    const bitmap = await createImageBitmap(new Blob([told.backdrop], { type: "image/jpeg" }));
    app.photo = {
      width: told.width,
      height: told.height,
      backdrop: told.backdrop,
      type: "image/jpeg",
      blob: file,
      bitmap,
      ratio: told.width / told.height,
      name: blob ? name : app.photo.name,
    };
  } else told = await network.call("rerun", { off });
  const [height, width] = data.network.size;
  app.photo.facts = [
    `photo ${app.photo.width} × ${app.photo.height}, seen by the network as ${width} × ${height}`,
    `computed on this device in ${told.seconds.toFixed(2)} s`,
  ];
  const call =
    (what) =>
    (view, ...rest) =>
      network.call(what, NAMES[what](view, ...rest));
  app.source = {
    open: call("open"),
    planes: call("planes"),
    react: call("react"),
    values: (layer) => network.call("values", { layer }),
    mask: () => network.call("mask"),
  };
  app.live = true;
  await showMaps();
  setState("done", `Computed on this device in ${told.seconds.toFixed(2)} s.`);
  await Promise.all([showPart(app.part, !fresh), showView(app.view, !fresh)]);
}
const NAMES = {
  open: (view, channels) => ({ view, channels }),
  planes: (view, layer, channels) => ({ view, layer, channels }),
  react: (view, look) => ({ view, look }),
};

// ---- showing ----

// The map of the network and the result; the views follow, since they take longer.
async function showMaps() {
  const opened = await app.source.open("part", app.channels);
  const planes = Object.fromEntries(
    opened.filter((layer) => !layer.missing).map(({ name, planes: found }) => [name, Object.values(found)[0]]),
  );
  map.draw(planes, app.photo);
  showResult(planes.logits);
  at("photo-name").textContent = app.photo.name;
  at("facts").textContent = app.photo.facts.join(" · ");
}

// The photo with its mask: what is outside fades.
function showResult(logits) {
  const canvas = at("result");
  const { bitmap } = app.photo;
  Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
  const mask = new OffscreenCanvas(logits.width, logits.height);
  const context = mask.getContext("2d");
  const image = context.createImageData(logits.width, logits.height);
  const step = (logits.hi - logits.lo) / 65530;
  logits.codes.forEach((code, i) => {
    const level = 255 / (1 + Math.exp(-(logits.lo + code * step)));
    image.data.set([level, level, level, 255], 4 * i);
    if (app.show !== "mask") image.data[4 * i + 3] = level;
  });
  context.putImageData(image, 0, 0);
  const paper = canvas.getContext("2d");
  paper.imageSmoothingQuality = "high";
  if (app.show === "mask") paper.drawImage(mask, 0, 0, canvas.width, canvas.height);
  else {
    paper.drawImage(mask, 0, 0, canvas.width, canvas.height);
    paper.globalCompositeOperation = "source-in";
    paper.drawImage(bitmap, 0, 0);
    if (app.show === "photo") {
      paper.globalCompositeOperation = "destination-over";
      paper.globalAlpha = 0.22;
      paper.drawImage(bitmap, 0, 0);
    }
    paper.globalCompositeOperation = "source-over";
    paper.globalAlpha = 1;
  }
  app.logits = logits;
}

async function showPart(name, same) {
  app.part = name;
  map.selected = name;
  const part = map.select(name);
  const kind = data.about[part.kindOf];
  at("part-title").textContent = part.title;
  at("part-shape").textContent =
    `${part.shape[0]} ${part.shape[0] === 1 ? "map" : "maps"} of ${part.shape[2]} × ${part.shape[1]} cells`;
  at("part-text").textContent = kind.join(" ");
  const link = (other) =>
    other === "photo"
      ? h("span", { class: "chip" }, "the photo")
      : h(
          "button",
          { class: "chip", type: "button", on: { click: () => choosePart(other) } },
          data.parts.find((one) => one.name === other).title,
        );
  const readers = data.parts.filter(({ inputs }) => inputs.includes(name)).map((one) => one.name);
  at("part-in").replaceChildren(...part.inputs.map(link));
  at("part-out").replaceChildren(
    ...(readers.length
      ? readers.map(link)
      : [h("span", { class: "chip" }, name === "logits" ? "the mask" : "the training only")]),
  );
  at("part-notebook").textContent = `Build it yourself: notebook ${part.notebook}.ipynb of the course`;
  await render("part", data.part, at("part-view"), { ...app.looks.part, layer: name }, same);
}

// `same`: the photo is the same, so that the view can stay as it is and take new numbers.
async function showView(name, same) {
  app.view = name;
  for (const button of at("tabs").children) button.setAttribute("aria-selected", String(button.dataset.view === name));
  const template = data.views.find(({ scene }) => scene.view === name);
  await render("view", template, at("view"), app.looks[name], same);
}

const shown = {};

// Draws a view by the front end of the notebooks, on the run on show.
async function render(place, template, element, look, same) {
  const { view } = template.scene;
  const before = shown[place];
  if (before?.model) app.looks[before.view] = before.model.look;
  if (same && before?.model && before.view === view) {
    before.model.refresh(app.source);
    return;
  }
  if (place === "part" && before?.model && before.source === app.source) {
    before.model.set("layer", look.layer);
    return;
  }
  const ticket = (shown[place] = { view, source: app.source });
  const model = await makeModel(template, app.source, app.photo, look ?? app.looks[view], {
    live: true,
    onSwitch: (off) => switchParts(off),
  });
  if (shown[place] !== ticket) return;
  before?.close?.();
  element.replaceChildren();
  if (!model) {
    element.append(
      h(
        "p",
        { class: "hint" },
        "The recorded run does not hold these maps. ",
        h("button", { class: "button", type: "button", on: { click: () => ask({}) } }, "Run the network on this photo"),
      ),
    );
    return;
  }
  if (template.scene.switches) model.values.ablated = map.off;
  ticket.model = model;
  widget.initialize({ model });
  ticket.close = widget.render({ model, el: element });
  model.react();
}

function choosePart(name) {
  showPart(name).catch(complain);
  saveLink();
}

function switchParts(off) {
  map.setGates(off);
  const model = shown.view?.model;
  if (model?.get("scene").switches && JSON.stringify(model.get("ablated")) !== JSON.stringify(off))
    model.set("ablated", off);
  at("gate-note").textContent = off.length
    ? `${off.length} ${off.length === 1 ? "part is" : "parts are"} off`
    : "All parts are on";
  at("all-on").hidden = !off.length;
  saveLink();
  return ask({});
}

// ---- the page ----

const map = new NetworkMap(data.parts, app.channels, { onOpen: choosePart, onGates: () => switchParts(map.off) });
at("map").append(map.root);

at("tabs").append(
  ...data.views.map(({ scene }) =>
    h(
      "button",
      {
        class: "tab",
        type: "button",
        role: "tab",
        dataset: { view: scene.view },
        title: scene.question,
        on: {
          click: () => {
            showView(scene.view).catch(complain);
            saveLink();
          },
        },
      },
      scene.title,
    ),
  ),
);

at("samples").append(
  ...data.samples.map((sample) => {
    const picture = h("img", { src: `data:image/jpeg;base64,${sample.data}`, alt: "" });
    return h(
      "button",
      {
        class: "sample",
        type: "button",
        title: sample.title,
        "aria-label": `Sample photo: ${sample.title}`,
        dataset: { sample: sample.name },
        on: { click: () => ask({ blob: blobOf(sample), name: sample.title }) },
      },
      picture,
    );
  }),
);
const blobOf = (sample) =>
  new Blob([Uint8Array.from(atob(sample.data), (sign) => sign.charCodeAt(0))], { type: "image/jpeg" });

at("questions").append(
  ...data.questions.map(({ ask: question, answer, show }) =>
    h(
      "li",
      {},
      h("p", {}, question),
      h(
        "div",
        { class: "question-row" },
        h("button", { class: "button small", type: "button", on: { click: () => showMe(show) } }, "Take me there"),
        h("details", {}, h("summary", {}, "Answer"), h("p", {}, answer)),
      ),
    ),
  ),
);

function showMe({ part, view, off }) {
  if (off) switchParts(off);
  if (part) {
    choosePart(part);
    at("part").scrollIntoView({ behavior: "smooth", block: "start" });
  }
  if (view) {
    showView(view).catch(complain);
    at("views").scrollIntoView({ behavior: "smooth", block: "start" });
  }
}

const input = root.querySelector("input[data-photo]");
const take = (file) => file && ask({ blob: file, name: file.name || "your photo" });
input.addEventListener("change", () => {
  take(input.files[0]);
  input.value = "";
});
document.addEventListener("paste", (event) =>
  take([...event.clipboardData.files].find(({ type }) => type.startsWith("image/"))),
);
for (const kind of ["dragover", "drop"]) {
  document.addEventListener(kind, (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    if (kind === "drop") take(event.dataTransfer.files[0]);
  });
}

at("play").addEventListener("click", () => {
  at("play").textContent = map.playing ? "▶ Play" : "■ Stop";
  map.play((part) => {
    at("caption").textContent = part ? `${part.title}: ${part.shape.join(" × ")}` : "";
    if (!part) at("play").textContent = "▶ Play";
  });
});
at("all-on").addEventListener("click", () => switchParts([]));
for (const radio of root.querySelectorAll("input[name=show]")) {
  radio.addEventListener("change", () => {
    app.show = radio.value;
    showResult(app.logits);
  });
}
app.show = "photo";

async function savePicture(what) {
  if (!app.live) await ask({});
  if (state !== "done") return;
  download(`${what}.png`, await network.call("picture", { what }));
}
at("save-mask").addEventListener("click", () => savePicture("mask").catch(complain));
at("save-cutout").addEventListener("click", () => savePicture("cutout").catch(complain));

at("camera").addEventListener("click", async () => {
  const video = at("video");
  try {
    if (!navigator.mediaDevices?.getUserMedia) throw new Error("this browser gives pages no camera");
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    video.srcObject = stream;
    at("camera-box").showModal();
    at("camera-box").onclose = () => stream.getTracks().forEach((track) => track.stop());
  } catch (error) {
    complain(
      new Error(
        `The camera cannot be used (${error.message}). Take a photo with the camera of your device and choose its file.`,
      ),
    );
  }
});
at("shoot").addEventListener("click", () => {
  const video = at("video");
  const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  at("camera-box").close();
  canvas.toBlob((blob) => ask({ blob, name: "camera" }), "image/png");
});
at("camera-cancel").addEventListener("click", () => at("camera-box").close());

at("theme").addEventListener("click", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
});

at("copy-link").addEventListener("click", async () => {
  saveLink();
  try {
    await navigator.clipboard.writeText(location.href);
    at("status").textContent = "The link is in the clipboard. It holds what you look at, not your photo.";
  } catch {
    at("status").textContent =
      "The address of this page now holds what you look at: copy it from the browser's address bar.";
  }
});

// What is looked at, as the end of the address.
function saveLink() {
  const link = new URLSearchParams({ view: app.view, part: app.part });
  if (map.off.length) link.set("off", map.off.join(","));
  history.replaceState(null, "", `#${link}`);
}
function readLink() {
  const link = new URLSearchParams(location.hash.slice(1));
  if (data.views.some(({ scene }) => scene.view === link.get("view"))) app.view = link.get("view");
  if (data.parts.some(({ name }) => name === link.get("part"))) app.part = link.get("part");
  return (link.get("off") ?? "").split(",").filter((name) => map.gates.has(name));
}

at("notices").addEventListener("toggle", async () => {
  if (at("notices-text").textContent) return;
  at("notices-text").textContent = new TextDecoder().decode(await unpackText("notices"));
});

// ---- the recorded run ----

async function unpackText(id) {
  const text = document.getElementById(id).textContent.trim();
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function readRecorded() {
  const bytes = await unpackText("recorded");
  const maps = Object.fromEntries(
    data.parts.map(({ name, shape }) => [name, { dims: shape, data: null, statistics: null, planes: new Map() }]),
  );
  for (const { kind, layer, channel, lo, hi, offset, length } of data.recorded) {
    const map = maps[layer];
    const piece = bytes.slice(offset, offset + length);
    if (kind === "statistics") map.statistics = new Float32Array(piece.buffer);
    else {
      const [, height, width] = map.dims;
      // Layers of one map have 16 bits, the others 8.
      const codes =
        map.dims[0] === 1
          ? new Uint16Array(piece.buffer)
          : Uint16Array.from(piece, (code) => Math.round((code * 65530) / 255));
      map.planes.set(channel, { codes, lo, hi, width, height });
      if (map.dims[0] === 1) map.data = Float32Array.from(codes, (code) => lo + (code * (hi - lo)) / 65530);
    }
  }
  const [sample] = data.samples;
  const blob = blobOf(sample);
  const photo = await readPhoto(blob, data.network.size);
  const run = new Run({
    size: data.network.size,
    maps,
    seen: photo.seen,
    image: photo.image,
    photo,
    kernels: data.network.kernels,
  });
  const bitmap = await createImageBitmap(blob);
  const { width, height } = photo;
  app.photo = {
    width,
    height,
    backdrop: photo.backdrop,
    type: "image/jpeg",
    blob,
    bitmap,
    ratio: width / height,
    name: sample.title,
    facts: [`photo ${width} × ${height}, seen by the network as ${data.network.size.join(" × ")}`, "a recorded run"],
  };
  app.source = {
    open: async (...call) => run.open(...call),
    planes: async (...call) => run.planes(...call),
    react: async (...call) => run.react(...call),
    values: async (layer) => run.values(layer),
    mask: async () => run.maskOfPhoto(),
  };
}

async function importText(text) {
  const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  try {
    return await import(url);
  } finally {
    URL.revokeObjectURL(url);
  }
}

globalThis.explorer = {
  values: async (layer) => {
    const found = await app.source.values(layer);
    if (!found) throw new Error(`There are no values of ${layer} here. Run the network on a photo first.`);
    return found;
  },
  mask: () => app.source.mask(),
};

// ---- the start ----

try {
  const off = readLink();
  await readRecorded();
  await showMaps();
  setState("recorded", "A recorded run. The network loads in a moment.");
  await painted();
  await Promise.all([showPart(app.part), showView(app.view)]);
  await painted();
  const wanted = off.length ? switchParts(off) : loadNetwork();
  await wanted;
} catch (error) {
  complain(error);
}
