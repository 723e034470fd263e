// The photo with its mask, beside the map of the network.
import { app, at } from "./state.js";

// `logits`: the plane of the last map. What is outside the mask fades.
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
  for (let i = 0; i < pixels.length; i++) {
    const level = Math.round(255 / (1 + Math.exp(-(logits.lo + logits.codes[i] * step))));
    pixels[i] = grey ? 0xff000000 | (level * 0x010101) : level << 24;
  }
  context.putImageData(image, 0, 0);
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
    paper.globalAlpha = 0.22;
    paper.drawImage(bitmap, 0, 0);
    paper.globalAlpha = 1;
  }
}
