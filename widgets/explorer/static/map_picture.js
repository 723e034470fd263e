// The map of the network as a picture to save: what the page shows, drawn again on one canvas.
import { app, at } from "./state.js";

const SCALE = 2;
const EDGE = 24;
const HEAD = 46;

export async function drawNetwork() {
  const { root } = app.map;
  const box = root.getBoundingClientRect();
  const style = getComputedStyle(at("map"));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round((box.width + 2 * EDGE) * SCALE);
  canvas.height = Math.round((box.height + 2 * EDGE + HEAD) * SCALE);
  const paper = canvas.getContext("2d");
  paper.scale(SCALE, SCALE);
  paper.fillStyle = style.getPropertyValue("--paper");
  paper.fillRect(0, 0, canvas.width, canvas.height);
  paper.fillStyle = style.getPropertyValue("--ink");
  paper.textBaseline = "top";
  paper.font = `600 17px ${style.fontFamily}`;
  const { off } = app.map;
  const titles = off.map((name) => app.map.nodes.get(name).part.title);
  const without = titles.length > 3 ? `without ${titles.length} parts` : `without ${titles.join(", ")}`;
  paper.fillText(`BiRefNet on ${app.photo.name}${off.length ? `, ${without}` : ""}`, EDGE, EDGE - 6, box.width);
  paper.translate(EDGE - box.left, EDGE + HEAD - box.top);
  paper.save();
  paper.translate(box.left, box.top);
  for (const wire of app.map.wires.children) {
    const look = getComputedStyle(wire);
    Object.assign(paper, {
      strokeStyle: look.stroke,
      globalAlpha: Number(look.opacity),
      lineWidth: Number.parseFloat(look.strokeWidth),
    });
    paper.stroke(new Path2D(wire.getAttribute("d")));
  }
  paper.restore();
  for (const node of app.map.nodes.values()) drawNode(paper, node);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

function drawNode(paper, { root, canvas, button }) {
  const frame = button.getBoundingClientRect();
  const look = getComputedStyle(button);
  const outline = new Path2D();
  outline.roundRect(frame.left, frame.top, frame.width, frame.height, 8);
  Object.assign(paper, { fillStyle: look.backgroundColor, strokeStyle: look.borderTopColor, lineWidth: 1.5 });
  paper.fill(outline);
  const picture = canvas.getBoundingClientRect();
  paper.imageSmoothingEnabled = false;
  paper.globalAlpha = root.classList.contains("off") ? 0.18 : 1;
  paper.drawImage(canvas, picture.left, picture.top, picture.width, picture.height);
  paper.globalAlpha = 1;
  paper.stroke(outline);
  const name = root.querySelector(".node-name");
  const place = name.getBoundingClientRect();
  const text = getComputedStyle(name);
  Object.assign(paper, { fillStyle: text.color, font: `${text.fontSize} ${text.fontFamily}`, textAlign: "center" });
  paper.fillText(name.textContent, place.left + place.width / 2, place.top + 2, place.width);
  paper.textAlign = "left";
}
