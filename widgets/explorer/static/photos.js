// The ways in which a photo gets into the page: samples, a file, paste, drop, and the camera.
import { h } from "../../static/dom.js";
import { readState } from "./saving.js";
import { app, at, blobOf, data, root, warn } from "./state.js";

const take = (blob, name) => app.ask({ blob, name: name || "your photo", sample: "" });

export const takeSample = (sample) => app.ask({ blob: blobOf(sample), name: sample.title, sample: sample.name });

export function watchPhotos() {
  at("samples").append(...data.samples.map(sampleButton));
  const input = root.querySelector("input[data-photo]");
  input.addEventListener("change", () => {
    takeFile(input.files[0]);
    input.value = "";
  });
  document.addEventListener("paste", paste);
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) document.addEventListener(kind, drag);
  at("camera").addEventListener("click", openCamera);
  at("shoot").addEventListener("click", shoot);
  at("camera-cancel").addEventListener("click", () => at("camera-box").close());
}

function sampleButton(sample) {
  const picture = h("img", { src: `data:image/jpeg;base64,${sample.data}`, alt: "" });
  return h(
    "button",
    {
      class: "sample",
      type: "button",
      title: sample.title,
      "aria-label": `Sample photo: ${sample.title}`,
      dataset: { sample: sample.name },
      on: { click: () => takeSample(sample) },
    },
    picture,
  );
}

// A photo, or a state that this page saved.
function takeFile(file) {
  if (!file) return;
  if (file.type === "application/json" || file.name?.endsWith(".json")) readState(file);
  else take(file, file.name);
}

function paste(event) {
  const files = [...(event.clipboardData?.files ?? [])];
  const image = files.find(({ type }) => type.startsWith("image/"));
  if (image) return take(image, "pasted photo");
  if (event.target.closest?.("input, select, textarea")) return undefined;
  return warn("There is no picture in the clipboard. Copy the picture itself, not its address, and paste again.");
}

function drag(event) {
  if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
  event.preventDefault();
  root.classList.toggle("dropping", event.type === "dragenter" || event.type === "dragover");
  if (event.type === "drop") takeFile(event.dataTransfer.files[0]);
}

const CAMERA = {
  NotFoundError: "There is no camera on this device",
  NotAllowedError: "The camera may not be used here; your browser's address bar can allow it",
  NotReadableError: "Another program uses the camera",
};

async function openCamera() {
  try {
    if (!navigator.mediaDevices?.getUserMedia) throw new DOMException("", "NotFoundError");
    const video = at("video");
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    video.srcObject = stream;
    at("camera-box").onclose = () => {
      for (const track of stream.getTracks()) track.stop();
      video.srcObject = null;
    };
    at("camera-box").showModal();
  } catch (error) {
    warn(
      `${CAMERA[error.name] ?? `The camera cannot be used (${error.message})`}. Choose the file of a photo instead.`,
    );
  }
}

function shoot() {
  const video = at("video");
  if (!video.videoWidth) return; // no picture has come yet
  const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  at("camera-box").close();
  canvas.toBlob((blob) => take(blob, "camera"), "image/png");
}
