// A photo from a file as the network wants it: upright, over white, resized as Pillow does, normalised.
import { columnsFirst, layOverWhite, resizeByteColumns, resizeByteRows } from "./resize.js";

// ImageNet's mean and standard deviation of red, green and blue, in 0 to 1.
export const MEAN = [0.485, 0.456, 0.406];
export const STD = [0.229, 0.224, 0.225];

const STRIP = 512; // rows that are read from the photo at once
const BACKDROP = 1024; // the longest side of the photo under the maps
const MOST_PIXELS = 120e6;

// A photo that cannot be read; the network is as well as before.
class PhotoError extends Error {
  name = "PhotoError";
}

// `seen`: RGB bytes at the network's size; `image`: the same, normalised (3, H, W); `backdrop`: a canvas for the page.
export async function readPhoto(blob, [height2, width2]) {
  const open = () =>
    createImageBitmap(blob, { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" });
  let bitmap;
  try {
    bitmap = await open();
  } catch {
    throw new PhotoError(
      `${blob.name ?? "This file"} is not a picture that your browser can read, or it is damaged. Save it as JPEG or PNG and try again.`,
    );
  }
  const { width, height } = bitmap;
  if (width * height > MOST_PIXELS) {
    bitmap.close();
    throw new PhotoError(
      `${blob.name ?? "This photo"} has ${Math.round((width * height) / 1e6)} million pixels, more than a page can hold. Make it smaller and try again.`,
    );
  }
  try {
    const seen = shrink(bitmap, width, height, width2, height2);
    return { width, height, seen, image: normalise(seen), backdrop: backdropOf(bitmap), bitmap: open };
  } catch (error) {
    throw new PhotoError(
      `${blob.name ?? "This photo"}, ${width} × ${height} pixels, could not be read (${error.message}). A smaller copy may work.`,
    );
  } finally {
    bitmap.close();
  }
}

// Strip by strip, so that a large photo is never unpacked as a whole, unless Pillow would begin with the columns.
function shrink(bitmap, width, height, width2, height2) {
  const whole = columnsFirst(width, height, width2, height2);
  const rows = whole ? height : Math.min(STRIP, height);
  const canvas = new OffscreenCanvas(width, rows);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const read = (y, count) => {
    context.clearRect(0, 0, width, rows);
    context.drawImage(bitmap, 0, y, width, count, 0, 0, width, count);
    return layOverWhite(context.getImageData(0, 0, width, count).data);
  };
  if (whole) {
    const rgb = resizeByteRows(read(0, height), width, height, 4, 3, width);
    return resizeByteRows(resizeByteColumns(rgb, 3 * width, height, height2), width, height2, 3, 3, width2);
  }
  const narrow = new Uint8Array(3 * width2 * height);
  for (let y = 0; y < height; y += rows) {
    const count = Math.min(rows, height - y);
    narrow.set(resizeByteRows(read(y, count), width, count, 4, 3, width2), 3 * width2 * y);
  }
  return resizeByteColumns(narrow, 3 * width2, height, height2);
}

// In single precision throughout, as PyTorch does it.
export function normalise(seen) {
  const size = seen.length / 3;
  const image = new Float32Array(seen.length);
  for (let c = 0; c < 3; c++) {
    const [mean, deviation] = [Math.fround(MEAN[c]), Math.fround(STD[c])];
    for (let i = 0; i < size; i++)
      image[c * size + i] = Math.fround(Math.fround(seen[3 * i + c] / 255) - mean) / deviation;
  }
  return image;
}

function backdropOf(bitmap) {
  const scale = Math.min(1, BACKDROP / Math.max(bitmap.width, bitmap.height));
  const canvas = new OffscreenCanvas(
    Math.max(1, Math.round(bitmap.width * scale)),
    Math.max(1, Math.round(bitmap.height * scale)),
  );
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return canvas;
}
