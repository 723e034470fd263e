// Taking a view away: a picture, or a state that opens it again.
import { LOOK } from "./store.js";
import { download, h, toBase64 } from "./dom.js";

const MARGIN = 16;

// Draws what is on show, with its labels, as one PNG.
export async function savePicture(store, view) {
  const { scene } = store;
  const panels = [...view.stages, ...view.panels];
  const boxes = panels.map((panel) => ({ panel, box: panel.frame.getBoundingClientRect(), label: panel.label?.textContent ?? "" }));
  const origin = view.body.getBoundingClientRect();
  const scale = 2;
  const style = getComputedStyle(view.root);
  const canvas = h("canvas", { width: (origin.width + 2 * MARGIN) * scale, height: (origin.height + 2 * MARGIN + 48) * scale });
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.fillStyle = style.getPropertyValue("--bv-paper") || "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = style.color;
  context.font = `600 16px ${style.fontFamily}`;
  context.fillText(scene.title, MARGIN, MARGIN + 14);
  context.font = `12px ${style.fontFamily}`;
  const { layer, channel } = store.look;
  context.fillText(`${layer}, channel ${channel} · ${view.controls.ticks.textContent && [...view.controls.ticks.children].map((tick) => tick.textContent).join("   ")}`, MARGIN, MARGIN + 34);
  context.translate(MARGIN - origin.left, MARGIN + 48 - origin.top);
  for (const { panel, box, label } of boxes) {
    if (!box.width) continue;
    context.save();
    context.beginPath();
    context.rect(box.left, box.top, box.width, box.height);
    context.clip();
    const sheet = panel.sheet.getBoundingClientRect();
    context.imageSmoothingEnabled = false;
    context.drawImage(panel.canvas, sheet.left, sheet.top, sheet.width, sheet.height);
    context.restore();
    context.font = `10px ${style.fontFamily}`;
    if (label) context.fillText(label, box.left, box.bottom + 11, box.width);
  }
  for (const element of view.body.querySelectorAll("[data-heading]")) {
    const box = element.getBoundingClientRect();
    context.font = `600 10px ${style.fontFamily}`;
    context.fillText(element.textContent, box.left, box.bottom - 3, Math.max(box.width, 20));
  }
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  download(`${scene.view}.png`, blob);
}

// The same JSON that `viewer.state()` gives: what is looked at, the scene, and the maps that the page holds.
export function stateOf(store) {
  const pieces = [];
  const parts = [];
  let offset = 0;
  const add = (part, bytes) => {
    parts.push({ ...part, offset, length: bytes.length });
    const padded = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
    padded.set(bytes);
    pieces.push(padded);
    offset += padded.length;
  };
  const bytesOf = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  if (store.photoPart) add({ kind: "photo", type: store.photoPart.type }, store.photoPart.bytes);
  for (const [name, bytes] of store.colours) add({ kind: "colours", name }, bytes);
  for (const [layer, values] of store.statistics) add({ kind: "statistics", layer }, bytesOf(values));
  for (const { codes, layer, channel, lo, hi, width, height } of store.cache.planes.values()) {
    add({ kind: "plane", layer, channel, lo, hi, width, height }, bytesOf(codes));
  }
  const blob = new Uint8Array(offset);
  for (let i = 0; i < pieces.length; i++) blob.set(pieces[i], parts[i].offset);
  const look = Object.fromEntries(LOOK.map((name) => [name, store.look[name]]));
  const { model } = store;
  return { version: 1, scene: store.scene, look, marks: model.get("marks") ?? [], table: model.get("table") ?? {}, parts, blob: toBase64(blob) };
}

export function saveState(store) {
  download(`${store.scene.view}.json`, new Blob([JSON.stringify(stateOf(store))], { type: "application/json" }));
}
