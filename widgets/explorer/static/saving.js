// Saving: mask and cut-out, a picture of the network, the link, and the state as a file.
import { download } from "../../static/dom.js";
import { chooseKnown, saveLink } from "./link.js";
import { drawNetwork } from "./map_picture.js";
import { currentLooks } from "./panels.js";
import { app, at, blobOf, complain, root, say, warn } from "./state.js";

const KIND = "birefnet-explorer";
const LARGEST = 64e6; // bytes of a state's file

export function watchSaving(open) {
  openState = open;
  const tasks = {
    "save-mask": () => savePicture("mask"),
    "save-cutout": () => savePicture("cutout"),
    "save-map": async () => download("network.png", await drawNetwork()),
    "save-state": saveState,
    "copy-link": copyLink,
  };
  const local = location.protocol === "file:";
  at("copy-link").hidden = local;
  at("no-link").hidden = !local;
  for (const [name, task] of Object.entries(tasks)) at(name).addEventListener("click", () => task().catch(complain));
}
let openState = null;

async function savePicture(what) {
  if (!app.live) await app.ask({});
  if (root.dataset.state !== "done") return;
  try {
    download(`${what}.png`, await app.source.picture(what));
  } catch (error) {
    if (error.fatal) throw error;
    warn(
      `The picture could not be made (${error.message}). Your browser may not hold one so large: take a smaller photo.`,
    );
  }
}

async function copyLink() {
  saveLink();
  const note = app.photo.sample ? "" : " Your photo is not in it: save the state for that.";
  try {
    await navigator.clipboard.writeText(location.href);
    say(`The link is in the clipboard.${note}`);
  } catch {
    say(`The address of this page is the link now: copy it from the browser's address bar.${note}`);
  }
}

// All that is needed to see the same again, one's own photo included.
async function saveState() {
  const { part, view, show, photo, map } = app;
  const state = { kind: KIND, version: 1, part, view, show, off: map.off, looks: currentLooks(), photo: photo.sample };
  if (!photo.sample) {
    const bytes = new Uint8Array(await photo.blob.arrayBuffer());
    let text = "";
    for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
    Object.assign(state, { name: photo.name, file: btoa(text) });
  }
  download("explorer-state.json", new Blob([JSON.stringify(state)], { type: "application/json" }));
}

// A file of a state, as `saveState` writes it. Nothing in it is trusted.
export async function readState(file) {
  try {
    if (file.size > LARGEST) throw new Error("it is too large");
    const state = JSON.parse(await file.text());
    if (state?.kind !== KIND || state.version !== 1) throw new Error("something else is in it");
    const known = chooseKnown(state);
    const blob = typeof state.file === "string" ? decode(state.file) : known.sample && blobOf(known.sample);
    if (!blob) throw new Error("its photo is not there");
    const sample = typeof state.file === "string" ? "" : known.sample.name;
    const name = sample ? known.sample.title : String(state.name ?? "your photo").slice(0, 200);
    await openState({ ...known, looks: knownLooks(state.looks) }, { blob, sample, name });
  } catch (error) {
    warn(
      `${file.name ?? "The file"} is not a state of this page (${error.message}). Save one by "Save state", and open that.`,
    );
  }
}
const decode = (text) => new Blob([Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0))]);

// The look of a view, from values of the right type.
function knownLooks(looks) {
  const number = Number.isFinite;
  const tests = {
    layer: (x) => typeof x === "string",
    channel: Number.isInteger,
    channels: (x) => x && typeof x === "object" && Object.values(x).every((c) => Number.isInteger(c) && c >= 0),
    pin: (x) => Array.isArray(x) && x.every(number) && [0, 2].includes(x.length),
    colormap: (x) => typeof x === "string",
    range: (x) => ["map", "layer", "all", "own"].includes(x),
    limits: (x) => Array.isArray(x) && x.every(number),
    opacity: (x) => number(x) && x >= 0 && x <= 1,
    sort: (x) => typeof x === "string",
    zoom: (x) => Array.isArray(x) && x.length === 3 && x.every(number),
  };
  const pick = (look) =>
    Object.fromEntries(Object.entries(tests).flatMap(([k, ok]) => (ok(look?.[k]) ? [[k, look[k]]] : [])));
  return Object.fromEntries(Object.entries(looks ?? {}).map(([view, look]) => [view, pick(look)]));
}
