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
  for (const element of root.querySelectorAll(".bv-map-lines :is(path, text, circle)")) drawElement(paper, element);
  paper.restore();
  for (const node of app.map.nodes.values()) drawNode(paper, node);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

// A path, a text or a disc of the drawing between the parts, as the page shows it. Arrow heads are left out.
function drawElement(paper, element) {
  const look = getComputedStyle(element);
  if (element.closest("marker") || look.visibility === "hidden") return;
  const sign = element.closest(".bv-sign");
  const place = sign?.transform.baseVal.consolidate().matrix;
  paper.save();
  if (place) paper.translate(place.e, place.f);
  paper.globalAlpha = Number(look.opacity);
  Object.assign(paper, {
    fillStyle: look.fill,
    strokeStyle: look.stroke,
    lineWidth: Number.parseFloat(look.strokeWidth),
  });
  if (element.tagName === "text") {
    Object.assign(paper, {
      font: `${look.fontWeight} ${look.fontSize} ${look.fontFamily}`,
      textBaseline: "alphabetic",
      textAlign: element.getAttribute("text-anchor") === "end" ? "right" : "left",
    });
    paper.fillText(element.textContent, Number(element.getAttribute("x")), Number(element.getAttribute("y")));
  } else {
    const shape = new Path2D(element.getAttribute("d") ?? undefined);
    if (element.tagName === "circle") shape.arc(0, 0, element.r.baseVal.value, 0, 2 * Math.PI);
    if (look.fill !== "none") paper.fill(shape);
    if (look.stroke !== "none") paper.stroke(shape);
  }
  paper.restore();
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
  const text = getComputedStyle(name);
  Object.assign(paper, { fillStyle: text.color, font: `${text.fontSize} ${text.fontFamily}`, textAlign: "center" });
  for (const [line, { left, top, width }] of linesOf(name)) paper.fillText(line, left + width / 2, top + 2);
  paper.textAlign = "left";
}

// The lines into which the page has broken a text, each with its place.
function linesOf(element) {
  const [text] = element.childNodes;
  const range = document.createRange();
  const lines = [];
  for (let i = 0; i < text.length; i++) {
    range.setStart(text, i);
    range.setEnd(text, i + 1);
    // After a hyphen that shows, a letter's range holds its line's end, too.
    const place = [...range.getClientRects()].at(-1);
    const last = lines.at(-1);
    if (last && text.data[i] === "\u00ad") {
      last.to = i + 1; // shown only at the end of a line, as a hyphen
      continue;
    }
    if (!last || Math.abs(place.top - last.place.top) > 4) lines.push({ from: i, to: i + 1, place });
    else last.to = i + 1;
  }
  return lines.map(({ from, to }) => {
    range.setStart(text, from);
    range.setEnd(text, to);
    const line = text.data.slice(from, to);
    const hyphen = line.endsWith("\u00ad") ? "-" : "";
    return [line.replaceAll("\u00ad", "") + hyphen, range.getBoundingClientRect()];
  });
}
