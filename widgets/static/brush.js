// A brush on the photo: the page collects a stroke, the kernel paints it and runs the network again.
import { h, svg, write } from "./dom.js";

const TOOLS = {
  "": "no brush: a click pins",
  erase: "erase",
  blur: "blur",
  brighten: "brighten",
  copy: "copy another place",
};

export class Brush {
  constructor(view) {
    const { store } = view;
    Object.assign(this, { view, store, source: null, stroke: null, abort: new AbortController() });
    this.tool = h(
      "select",
      { on: { change: () => this.choose() } },
      Object.entries(TOOLS).map(([value, text]) => h("option", { value }, text)),
    );
    this.size = h("input", { type: "range", min: 1, max: 25, step: 1, value: 6, on: { input: () => this.hover() } });
    this.undo = h("button", { class: "bv-button", type: "button", on: { click: () => this.drop() } }, "Undo");
    this.wipe = h("input", {
      type: "range",
      min: 0,
      max: 100,
      step: 1,
      value: 0,
      on: { input: () => this.setWipe() },
    });
    this.said = h("div", { class: "bv-muted", role: "status" });
    const field = (label, input) => h("label", { class: "bv-field" }, h("span", {}, label), input);
    this.wipeField = field("Before, up to here", this.wipe);
    this.root = h(
      "section",
      { class: "bv-brush", hidden: !store.scene.brush, "aria-label": "Change the photo" },
      h(
        "div",
        { class: "bv-fields" },
        field("Change the photo", this.tool),
        field("Size of the brush", this.size),
        this.undo,
        this.wipeField,
      ),
      this.said,
    );
    this.circle = svg("circle", { class: "bv-brush-circle" });
    this.trail = svg("polyline", { class: "bv-brush-trail" });
    if (store.scene.brush) this.listen();
  }

  get strokes() {
    return this.store.model.get("strokes") ?? [];
  }
  // In the photo's pixels.
  get radius() {
    return (Number(this.size.value) / 200) * this.store.scene.image.width;
  }
  get on() {
    return this.store.live && Boolean(this.tool.value);
  }

  // Before the picture's own gestures: with a brush in hand, a drag paints.
  listen() {
    const stageOf = (event) => this.on && this.view.stages.find((stage) => stage.frame.contains(event.target));
    const listener = (task) => (event) => {
      const stage = stageOf(event);
      if (stage) this.store.guard(() => task(stage, event));
    };
    const { root } = this.view;
    const options = { capture: true, signal: this.abort.signal };
    const stop = (event) => {
      event.preventDefault();
      event.stopPropagation();
    };
    root.addEventListener(
      "pointerdown",
      listener((stage, event) => {
        stop(event);
        stage.frame.setPointerCapture(event.pointerId);
        this.press(stage, stage.locate(event));
      }),
      options,
    );
    root.addEventListener(
      "pointermove",
      listener((stage, event) => {
        this.move(stage, stage.locate(event));
        if (this.stroke) stop(event);
      }),
      options,
    );
    root.addEventListener(
      "pointerup",
      listener((_, event) => {
        stop(event);
        this.lift();
      }),
      options,
    );
    root.addEventListener("pointercancel", () => (this.stroke = null), options);
    // By keyboard: Enter dabs at the cursor.
    root.addEventListener(
      "keydown",
      listener((stage, event) => {
        if (event.key !== "Enter" || !this.store.at) return;
        stop(event);
        this.press(stage, this.store.at);
        this.lift();
      }),
      options,
    );
  }

  close() {
    this.abort.abort();
  }

  choose() {
    this.source = null;
    this.stroke = null;
    this.circle.remove();
    this.update();
  }

  press(stage, at) {
    if (this.tool.value === "copy" && !this.source) {
      this.source = at;
      this.update();
      return;
    }
    stage.overlay.append(this.trail, this.circle);
    this.stroke = {
      tool: this.tool.value,
      radius: this.radius,
      points: [at],
      ...(this.source ? { source: this.source } : {}),
    };
    this.drawTrail();
  }

  move(stage, at) {
    if (this.circle.parentNode !== stage.overlay) stage.overlay.append(this.trail, this.circle);
    this.hover(at);
    if (!this.stroke) return;
    const [x, y] = this.stroke.points.at(-1);
    if (Math.hypot(at[0] - x, at[1] - y) < this.stroke.radius / 4) return;
    this.stroke.points.push(at);
    this.drawTrail();
  }

  lift() {
    if (!this.stroke) return;
    const { stroke } = this;
    this.stroke = null;
    stroke.points = stroke.points.map((point) => point.map((x) => Math.round(10 * x) / 10));
    this.store.paint([...this.strokes, stroke]);
  }

  drop() {
    this.store.guard(() => this.store.paint(this.strokes.slice(0, -1)));
  }

  hover(at = this.store.at) {
    if (!at) return;
    const [x, y] = at;
    for (const [name, value] of Object.entries({ cx: x, cy: y, r: this.radius })) this.circle.setAttribute(name, value);
  }

  drawTrail() {
    const { points, radius } = this.stroke;
    // A line of one point has to be drawn twice to be seen.
    this.trail.setAttribute("points", [...points, points.at(-1)].map((point) => point.join(",")).join(" "));
    this.trail.setAttribute("stroke-width", 2 * radius);
  }

  setWipe() {
    this.store.wipe = Number(this.wipe.value) / 100;
    this.store.tell("look");
  }

  update() {
    const { store } = this;
    if (this.root.hidden) return;
    const { length } = this.strokes;
    for (const control of [this.tool, this.size]) control.disabled = !store.live;
    this.undo.hidden = !length || !store.live;
    write(this.undo, length > 1 ? `Undo (${length})` : "Undo");
    this.wipeField.hidden = !length || !store.before.size;
    if (this.wipeField.hidden) store.wipe = 0;
    if (!store.wipe) this.wipe.value = 0;
    this.view.root.dataset.brush = String(this.on);
    if (!this.on) this.circle.remove();
    // The trail stays until the kernel has answered with the painted photo.
    if (!this.stroke && !store.waiting && !store.model.get("busy")) this.trail.remove();
    write(this.said, this.say(length));
  }

  say(length) {
    const { store } = this;
    const strokes = `${length} ${length === 1 ? "stroke" : "strokes"}`;
    if (!store.live)
      return length
        ? `The photo was painted on (${strokes}). Painting needs a kernel: run the notebook.`
        : "Painting on the photo needs a kernel, which runs the network again: run the notebook.";
    if (this.tool.value === "copy" && !this.source) return "Click the place to copy from.";
    if (this.tool.value === "copy")
      return "Now paint: the first point of a stroke gets what lies at the place you clicked.";
    if (this.tool.value) return "Drag over the large picture. The network runs again after each stroke.";
    return length ? `${strokes}. The wipe shows the photo and the map before, from the left.` : "";
  }
}
