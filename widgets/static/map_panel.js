// One map on the page: a canvas, the marks over it, and the cell under the cursor.
import {
  cell,
  codeValue,
  colourTable,
  formatValue,
  overlay,
  paint,
  PlaneCache,
  quantumOf,
  shortValue,
  shrink,
} from "./core.js";
import { coloursFor, layerOf, limitsFor } from "./look.js";
import { alphaTable, cutOut, findOutline, levelOf, MASK_AS } from "./mask.js";
import { h, svg } from "./dom.js";

export const PHOTO = "photo";
const PANEL_TABLE = new Uint32Array(65536);

export class MapPanel {
  // `place` names the panel; with `backdrop` the map lies over the photo, at the photo's size or the one it is shown at.
  constructor(store, place, layer, { backdrop = false } = {}) {
    Object.assign(this, { store, place, layer, backdrop, drawn: "", shape: "" });
    this.canvas = h("canvas", { class: "bv-canvas", dataset: { panel: place, layer, draws: "0" } });
    this.marker = h("span", { class: "bv-marker", hidden: true });
    this.overlay = svg("svg", { class: "bv-marks", preserveAspectRatio: "none", "aria-hidden": "true" });
    this.markGroup = svg("g");
    this.outlines = [svg("path", { class: "bv-outline bv-outline-under" }), svg("path", { class: "bv-outline" })];
    this.overlay.append(...this.outlines, this.markGroup);
    this.sheet = h("div", { class: "bv-sheet" }, this.canvas, this.overlay);
    // The marker is outside the sheet that the zoom scales: its lines keep their width.
    this.frame = h("div", { class: "bv-frame" }, this.sheet, this.marker);
    const { width, height } = store.scene.image;
    this.frame.style.setProperty("--ratio", width / height);
    this.overlay.setAttribute("viewBox", `0 0 ${width} ${height}`);
    if (backdrop) this.watch = new ResizeObserver(([entry]) => this.resize(entry.contentRect.width));
    this.watch?.observe(this.frame);
  }

  resize(width) {
    if (width === this.shownWidth) return;
    this.shownWidth = width;
    this.store.tell("look");
  }

  // Pixels to draw over the photo: no more than the screen shows, for every one costs time in every frame.
  pixelsOver(photo) {
    const shown = Math.ceil((this.shownWidth || Infinity) * devicePixelRatio * this.zoom[0]);
    if (this.whole || shown >= photo.width) return [photo.width, photo.height];
    return [shown, Math.max(1, Math.round((photo.height * shown) / photo.width))];
  }

  // The photo at that size.
  photoAt(photo, width, height) {
    if (width === photo.width) return photo.pixels;
    if (this.small?.length !== width * height || this.smallPhoto !== photo) {
      this.small = shrink(photo, width, height);
      this.smallPhoto = photo;
    }
    return this.small;
  }

  // Runs a task while the map is drawn at the photo's own size.
  inFull(task) {
    this.whole = true;
    this.draw();
    this.whole = false;
    task();
    this.draw();
  }

  get info() {
    return layerOf(this.store.scene, this.layer);
  }
  // Whether the cells are the taps of a kernel, which lie nowhere in the photo.
  get taps() {
    return Boolean(this.info?.taps);
  }
  // The scale and the corner of what is shown. The zoom is one into the photo.
  get zoom() {
    return this.taps ? [1, 0, 0] : this.store.look.zoom;
  }
  // Pictures in focus side by side show the same channel.
  get shownChannel() {
    const { look, scene } = this.store;
    if (this.backdrop) {
      // Of two layers that were chosen, each shows the channel chosen in it.
      if (this.store.pair?.[1] === this.layer && this.store.group === this.store.pair)
        return Math.min(look.channels[this.layer] ?? 0, this.info.channels - 1);
      const beside = scene.linked && this.place === "focus-2" ? (look.channels.beside ?? Infinity) : look.channel;
      return Math.min(beside, this.info.channels - 1);
    }
    return this.store.channelOf(this.layer);
  }

  draw() {
    const { store, canvas } = this;
    if (this.layer === PHOTO) return this.drawPhoto();
    const channel = this.shownChannel;
    canvas.dataset.channel = channel;
    const alike = this.backdrop && store.alike ? store.similarityOf(this.layer) : null;
    const plane = alike ?? store.plane(this.layer, channel);
    const photo = this.info.photo ? store.photos.get(this.info.photo) : store.photo;
    if (!plane || (this.backdrop && !photo)) {
      canvas.dataset.state = plane || !store.missing(this.layer, channel) ? "waiting" : "missing";
      return undefined;
    }
    const { scene, look } = store;
    const limits = limitsFor(scene, look, plane, store.statistics);
    const colours = alike && look.colormap === "auto" ? "RdBu" : coloursFor(scene, look, this.layer);
    // A mask may be drawn as an outline or a cut-out instead of in colours.
    const as = this.backdrop && !alike && this.info.mask ? look.mask_as : MASK_AS[0];
    const opacity = as === "outline" ? 0 : this.backdrop && !this.taps ? look.opacity : 1;
    const [width, height] = this.backdrop ? this.pixelsOver(photo) : [plane.width, plane.height];
    const old =
      this.backdrop && !alike && store.wipe > 0 ? store.before.get(PlaneCache.key(this.layer, channel)) : null;
    const wipe = old && store.photoBefore ? store.wipe : 0;
    const state = `${channel} ${limits} ${colours} ${opacity} ${width} ${as} ${look.threshold} ${look.ground} ${wipe}`;
    if (this.drawn === state && this.plane === plane && this.under === photo) return plane;
    this.prepare(width, height);
    this.frame.classList.toggle("bv-taps", this.taps);
    this.under = photo;
    const how = { as, limits, colours, opacity, width, height };
    if (wipe) {
      // The picture before the brush, at the left of the wipe.
      this.paintOver(old, store.photoBefore, how);
      const before = this.pixels.slice();
      this.paintOver(plane, photo, how);
      const edge = Math.round(wipe * width);
      for (let y = 0; y < height; y++) this.pixels.set(before.subarray(y * width, y * width + edge), y * width);
    } else this.paintOver(plane, photo, how);
    this.context.putImageData(this.image, 0, 0);
    this.plane = plane;
    this.limits = limits;
    const outline = (from, shown) =>
      findOutline(from, levelOf(this.info.mask, look.threshold)).filter((_, i, all) => shown(all[i - (i % 4)]));
    this.drawOutline(
      as === "outline" ? [...(wipe ? outline(old, (x) => x < wipe) : []), ...outline(plane, (x) => x >= wipe)] : [],
    );
    this.finish(state);
    return plane;
  }

  paintOver(plane, photo, { as, limits, colours, opacity, width, height }) {
    const { store } = this;
    const { look } = store;
    if (as.endsWith("cut-out")) {
      const alpha = alphaTable(plane, this.info.mask, as === "hard cut-out" ? look.threshold : null);
      cutOut(plane, alpha, this.photoAt(photo, width, height), width, height, look.ground, this.pixels);
    } else if (this.backdrop) {
      colourTable(plane, limits, store.colours.get(colours), PANEL_TABLE);
      overlay(plane, PANEL_TABLE, this.photoAt(photo, width, height), width, height, opacity, this.pixels);
    } else {
      colourTable(plane, limits, store.colours.get(colours), PANEL_TABLE);
      paint(plane, PANEL_TABLE, this.pixels);
    }
  }

  // Lines given as [x1, y1, x2, y2, …] in parts of the picture.
  drawOutline(segments) {
    const { width, height } = this.store.scene.image;
    const pieces = [];
    for (let i = 0; i < segments.length; i += 4) {
      const [x1, y1, x2, y2] = [0, 1, 2, 3].map((j) => (segments[i + j] * (j % 2 ? height : width)).toFixed(2));
      pieces.push(`M${x1} ${y1}L${x2} ${y2}`);
    }
    this.outline = pieces.join("");
    for (const path of this.outlines) path.setAttribute("d", this.outline);
  }

  drawPhoto() {
    const { photo } = this.store;
    if (!photo || (this.drawn === PHOTO && this.under === photo)) return;
    this.under = photo;
    this.prepare(photo.width, photo.height);
    this.image.data.set(photo.rgba);
    this.context.putImageData(this.image, 0, 0);
    this.finish(PHOTO);
  }

  prepare(width, height) {
    if (this.shape === `${width} ${height}`) return;
    this.shape = `${width} ${height}`;
    this.canvas.width = width;
    this.canvas.height = height;
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.image = this.context.createImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }

  finish(state) {
    this.drawn = state;
    this.canvas.dataset.state = "drawn";
    this.canvas.dataset.draws = String(Number(this.canvas.dataset.draws) + 1);
  }

  // The value under a point of the photo (or of a kernel, under the pointer): what it is, where, and as text with the
  // digits that hold.
  probe(at) {
    // A map that is yet to be computed anew has no value to read.
    if (this.layer === PHOTO || !this.plane || this.frame.dataset.stale === "true") return null;
    if (this.taps !== this.store.atTaps) return null;
    const { image } = this.store.scene;
    const column = cell(at[0], image.width, this.plane.width);
    const row = cell(at[1], image.height, this.plane.height);
    if (this.info.kind === "colour")
      return { column, row, value: NaN, text: this.info.labels[this.plane.channel], short: "" };
    const value = codeValue(this.plane, this.plane.codes[row * this.plane.width + column]);
    return {
      column,
      row,
      value,
      text: formatValue(value, quantumOf(this.plane)),
      short: shortValue(value, quantumOf(this.plane)),
    };
  }

  // Outlines the cell that the point falls into.
  mark(at) {
    this.marker.hidden = !at || this.taps !== this.store.atTaps;
    if (this.marker.hidden) return;
    const { image } = this.store.scene;
    const [width, height] = this.layer === PHOTO ? [image.width, image.height] : [this.info.width, this.info.height];
    const { style } = this.marker;
    const [scale, left, top] = this.zoom;
    style.left = `${((cell(at[0], image.width, width) + 0.5) / width - left) * scale * 100}%`;
    style.top = `${((cell(at[1], image.height, height) + 0.5) / height - top) * scale * 100}%`;
    style.setProperty("--cell-width", `${(100 * scale) / width}%`);
    style.setProperty("--cell-height", `${(100 * scale) / height}%`);
  }

  // Points, boxes and lines in the photo's pixels, each with a tone that the style sheet colours.
  drawMarks(marks) {
    this.marks = marks.filter((mark) => !mark.layers || mark.layers.includes(this.layer));
    this.markGroup.replaceChildren(
      ...this.marks.map((mark) => {
        const look = { class: `bv-mark bv-tone-${mark.tone ?? "one"} bv-${mark.kind}`, opacity: mark.weight ?? 1 };
        if (mark.kind === "box")
          return svg("rect", { ...look, x: mark.x, y: mark.y, width: mark.width, height: mark.height });
        if (mark.kind === "ellipse")
          return svg("ellipse", { ...look, cx: mark.x, cy: mark.y, rx: mark.rx, ry: mark.ry });
        if (mark.kind === "line") return svg("line", { ...look, x1: mark.x, y1: mark.y, x2: mark.x2, y2: mark.y2 });
        // A line of no length with round ends stays a dot at any zoom.
        return svg("line", { ...look, x1: mark.x, y1: mark.y, x2: mark.x, y2: mark.y });
      }),
    );
  }

  // Where the pointer is, in the photo's pixels.
  locate(event) {
    const box = this.sheet.getBoundingClientRect();
    const { width, height } = this.store.scene.image;
    const x = ((event.clientX - box.left) / box.width) * width;
    const y = ((event.clientY - box.top) / box.height) * height;
    return [Math.min(Math.max(x, 0), width - 1e-6), Math.min(Math.max(y, 0), height - 1e-6)];
  }
}
