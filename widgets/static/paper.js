// A sheet for pictures of views: text, maps with their marks, and the PNG of it all.
import { h } from "./dom.js";

export const WIDTH = 1200;
export const MARGIN = 20;
const TONES = { one: "#6fd3ff", two: "#ffe23d", three: "#c23bff", four: "#ff6a00", grid: "rgb(255 255 255 / .55)" };

// A sheet of paper in the view's own colours, written from the top down.
export class Paper {
  constructor(view) {
    const style = getComputedStyle(view.root);
    this.colours = {
      ink: style.color,
      muted: style.getPropertyValue("--bv-muted"),
      paper: style.getPropertyValue("--bv-paper"),
    };
    this.family = style.fontFamily;
    this.steps = [];
    this.y = MARGIN;
  }
  text(text, x, y, { size = 12, bold = false, muted = false, align = "left", width = Infinity } = {}) {
    this.steps.push((context) => {
      context.font = `${bold ? 600 : 400} ${size}px ${this.family}`;
      context.textAlign = align;
      context.textBaseline = "top";
      context.fillStyle = muted ? this.colours.muted : this.colours.ink;
      context.fillText(shorten(context, text, width), x, y);
    });
  }
  // A map with its marks and the cell under the pin, as much of it as the zoom shows.
  map(panel, x, y, width, height) {
    const { store } = panel;
    const { image } = store.scene;
    const [scale, left, top] = panel.zoom;
    const place = (px, py) => [
      x + (px / image.width - left) * scale * width,
      y + (py / image.height - top) * scale * height,
    ];
    this.steps.push((context) => {
      context.save();
      context.beginPath();
      context.rect(x, y, width, height);
      context.clip();
      const lay = () => {
        context.imageSmoothingEnabled = panel.canvas.width > width;
        context.drawImage(
          panel.canvas,
          x - left * scale * width,
          y - top * scale * height,
          width * scale,
          height * scale,
        );
      };
      if (panel.backdrop) panel.inFull(lay);
      else lay();
      if (panel.outline) {
        // The line is thinner on the sheet than the photo's pixels it is written in.
        const size = (scale * width) / image.width;
        context.save();
        context.translate(x - left * scale * width, y - top * scale * height);
        context.scale(size, (scale * height) / image.height);
        for (const [colour, wide] of [
          ["rgb(0 0 0 / .7)", 4],
          [TONES.two, 1.8],
        ]) {
          context.strokeStyle = colour;
          context.lineWidth = wide / size;
          context.stroke(new Path2D(panel.outline));
        }
        context.restore();
      }
      context.lineWidth = 2;
      for (const mark of panel.marks ?? []) drawMark(context, mark, place, panel.backdrop ? 3 : 1.5);
      if (store.look.pin.length === 2) drawCell(context, panel, place, scale * width, scale * height);
      context.restore();
    });
  }
  async blob() {
    const height = this.y + MARGIN;
    const canvas = h("canvas", { width: WIDTH * 2, height: height * 2 });
    // Without an alpha channel there is a quarter less to write, and what is read at once need not leave the processor.
    const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    context.scale(2, 2);
    context.fillStyle = this.colours.paper;
    context.fillRect(0, 0, WIDTH, height);
    for (const step of this.steps) step(context);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  }
}

// A text cut with an ellipsis where it is wider than `width`.
function shorten(context, text, width) {
  const fits = (length) => context.measureText(`${text.slice(0, length)}…`).width <= width;
  if (width === Infinity || context.measureText(text).width <= width) return text;
  let [kept, over] = [0, text.length];
  while (over - kept > 1) {
    const middle = Math.floor((kept + over) / 2);
    if (fits(middle)) kept = middle;
    else over = middle;
  }
  return `${text.slice(0, kept)}…`;
}

function drawMark(context, mark, place, radius) {
  const [x, y] = place(mark.x, mark.y);
  context.strokeStyle = context.fillStyle = TONES[mark.tone ?? "one"];
  context.globalAlpha = mark.weight ?? 1;
  context.beginPath();
  if (mark.kind === "box") {
    const [right, bottom] = place(mark.x + mark.width, mark.y + mark.height);
    context.rect(x, y, right - x, bottom - y);
    context.stroke();
  } else if (mark.kind === "ellipse") {
    const [right, bottom] = place(mark.x + mark.rx, mark.y + mark.ry);
    context.ellipse(x, y, right - x, bottom - y, 0, 0, 2 * Math.PI);
    context.stroke();
  } else if (mark.kind === "line") {
    context.moveTo(x, y);
    context.lineTo(...place(mark.x2, mark.y2));
    context.stroke();
  } else {
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fill();
  }
  context.globalAlpha = 1;
}

function drawCell(context, panel, place, width, height) {
  const { image } = panel.store.scene;
  const probe = panel.probe(panel.store.look.pin);
  if (!probe) return;
  const { plane } = panel;
  const [x, y] = place(
    ((probe.column + 0.5) / plane.width) * image.width,
    ((probe.row + 0.5) / plane.height) * image.height,
  );
  const [rx, ry] = [Math.max(width / plane.width / 2, 3.5), Math.max(height / plane.height / 2, 3.5)];
  for (const [grow, colour] of [
    [1.5, "#000"],
    [0, "#fff"],
  ]) {
    context.strokeStyle = colour;
    context.strokeRect(x - rx - grow, y - ry - grow, 2 * (rx + grow), 2 * (ry + grow));
  }
}
