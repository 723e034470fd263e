// The network in its worker: loads it, calls it, and starts another one when it has stopped.
import { app, at, data, setState, showProgress } from "./state.js";

const PATIENCE_MS = 120_000;
const FROM_DISK =
  "Opened from disk, this page may not load its network. Put its folder on a web server, or take the explorer as one file.";

class Network {
  constructor() {
    const url = URL.createObjectURL(
      new Blob([document.getElementById("worker").textContent], { type: "text/javascript" }),
    );
    this.calls = new Map();
    this.count = 0;
    this.photo = null; // the file that it has read last
    this.worker = new Worker(url);
    URL.revokeObjectURL(url);
    this.worker.onmessage = ({ data: message }) => this.hear(message);
    this.worker.onerror = (event) => {
      event.preventDefault();
      this.end(event.message);
    };
    this.worker.onmessageerror = () => this.end("an answer could not be read");
  }

  hear({ id, result, error, fatal, progress }) {
    if (progress !== undefined) return showProgress(progress);
    const call = this.calls.get(id);
    if (!call) return undefined;
    this.calls.delete(id);
    clearTimeout(call.patience);
    if (error === undefined) return call.done(result);
    if (!fatal) return call.fail(Object.assign(new Error(error), { told: true }));
    call.fail(stopped(error));
    return this.end(error);
  }

  call(name, options) {
    if (this.ended) return Promise.reject(stopped(this.ended));
    return new Promise((done, fail) => {
      const id = ++this.count;
      const patience = setTimeout(() => this.end(`no answer for ${PATIENCE_MS / 1000} seconds`), PATIENCE_MS);
      this.calls.set(id, { done, fail, patience });
      this.worker.postMessage({ id, name, options });
    });
  }

  end(reason) {
    this.ended = reason || "for want of memory, perhaps";
    this.worker.terminate();
    for (const { fail, patience } of this.calls.values()) {
      clearTimeout(patience);
      fail(stopped(this.ended));
    }
    this.calls.clear();
    if (current === this) {
      current = null;
      loading = null;
      onEnd?.(stopped(this.ended));
    }
  }
}

function stopped(reason) {
  const text = reason.replace(/\.$/, "");
  const error = new Error(
    `The network stopped (${text}). Start it again; if it stops again, close other tabs or take a smaller photo.`,
  );
  return Object.assign(error, { fatal: true, told: true });
}

let current = null;
let loading = null;
let onEnd = null;

// `task(error)` hears of a network that stopped while nobody waited for an answer.
export const whenItEnds = (task) => {
  onEnd = task;
};

// The network, as soon as it is ready.
export function loadNetwork() {
  loading ??= (async () => {
    setState("loading", "The network is loading …");
    const network = new Network();
    current = network;
    await parsed;
    if (location.protocol === "file:" && Object.values(data.files).some(({ url }) => url))
      throw Object.assign(new Error(FROM_DISK), { told: true });
    await network.call("load", { description: data.network, files: filesOfNetwork() });
    network.ready = true;
    setState(app.live ? "done" : "ready", "The network is ready. Choose a photo, or switch a part off.");
    at("queue").hidden = true;
    return network;
  })();
  return loading;
}
export const isReady = () => Boolean(current?.ready);

const parsed = new Promise((done) => {
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", done);
  else done();
});

// The packed files: carried by this page, or lying beside it.
function filesOfNetwork() {
  return Object.fromEntries(
    Object.entries(data.files).map(([name, { url, bytes }]) => [
      name,
      url
        ? { url: new URL(url, location.href).href, bytes }
        : { text: document.getElementById(`file-${name}`).textContent.trim(), bytes },
    ]),
  );
}
