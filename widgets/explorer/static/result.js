// The photo with its mask, beside the map of the network.
import { app, at } from "./state.js";

const SURE = 0.5; // where the mask is higher, a pixel counts as object
const LEAST = 0.001; // of the photo: what covers less counts as nothing found

// `logits`: the plane of the last map. What is outside the mask fades, unless nothing was found.
export function showResult(logits = app.logits) {
  if (!logits || !app.photo) return;
  app.logits = logits;
  const canvas = at("result");
  const { bitmap } = app.photo;
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height)
    Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
  const mask = new OffscreenCanvas(logits.width, logits.height);
  const context = mask.getContext("2d");
  const image = context.createImageData(logits.width, logits.height);
  const pixels = new Uint32Array(image.data.buffer);
  const step = (logits.hi - logits.lo) / 65530;
  const grey = app.show === "mask";
  let inside = 0;
  for (let i = 0; i < pixels.length; i++) {
    const value = 1 / (1 + Math.exp(-(logits.lo + logits.codes[i] * step)));
    const level = Math.round(255 * value);
    if (value > SURE) inside++;
    pixels[i] = grey ? 0xff000000 | (level * 0x010101) : level << 24;
  }
  context.putImageData(image, 0, 0);
  const nothing = inside < LEAST * pixels.length;
  at("found").hidden = !nothing;
  at("found").textContent = nothing
    ? `Nothing found: the mask covers ${((100 * inside) / pixels.length).toFixed(1)} % of the picture (pixels over ${SURE}; less than ${100 * LEAST} % counts as nothing).`
    : "";
  const paper = canvas.getContext("2d");
  paper.imageSmoothingQuality = "high";
  paper.globalCompositeOperation = "copy";
  paper.drawImage(mask, 0, 0, canvas.width, canvas.height);
  if (!grey) {
    paper.globalCompositeOperation = "source-in";
    paper.drawImage(bitmap, 0, 0);
  }
  if (app.show === "photo") {
    paper.globalCompositeOperation = "destination-over";
    paper.globalAlpha = nothing ? 1 : 0.22;
    paper.drawImage(bitmap, 0, 0);
    paper.globalAlpha = 1;
  }
}
