// The view: builds the page, listens, and redraws what changed once a frame.
import { Atlas } from "./atlas.js";
import { Brush } from "./brush.js";
import { Choices } from "./options.js";
import { Controls } from "./controls.js";
import { h, watchTheme, write } from "./dom.js";
import { Focus } from "./focus.js";
import { Grid } from "./grid.js";
import { helpPanels } from "./help.js";
import { MaskPanel } from "./mask_panel.js";
import { Film } from "./film.js";
import { League } from "./league.js";
import { channelName, layerOf } from "./look.js";
import { Matrix } from "./matrix.js";
import { NetworkMap } from "./network_map.js";
import { savePicture, saveState } from "./save.js";
import { storeOf } from "./store.js";
import { titleOf } from "./switches.js";
import { Table } from "./table.js";

class View {
  constructor(store, element) {
    this.store = store;
    this.abort = new AbortController();
    this.alert = h("div", { class: "bv-alert", role: "alert", hidden: true });
    this.said = h("span", { role: "status" });
    this.halt = h(
      "button",
      { class: "bv-button", type: "button", on: { click: () => store.send({ type: "stop" }) } },
      "Stop",
    );
    this.busy = h("div", { class: "bv-busy", hidden: true }, this.said, this.halt);
    this.notice = h("div", { class: "bv-notice", role: "status", hidden: true });
    this.root = h("div", { class: "bv", dataset: { viewer: "" }, "data-lm-suppress-shortcuts": "true" });
    // A notebook moves between its cells by the arrow keys, unless they end here.
    this.root.addEventListener("keydown", (event) => event.stopPropagation());
    element.append(this.root);
    this.stopTheme = watchTheme(this.root);
    this.listener = (what) => this.hear(what);
    store.listeners.add(this.listener);
    store.guard(() => this.build());
    this.hear("error");
  }

  close() {
    this.map?.stop();
    this.controls?.stop();
    this.brush?.close();
    this.store.listeners.delete(this.listener);
    this.stopTheme();
    this.abort.abort();
    cancelAnimationFrame(this.frame);
  }

  // ---- page ----

  build() {
    const { store } = this;
    this.root.dataset.viewer = store.scene.view;
    this.makePanels();
    const [head, body, foot] = [this.makeHead(), this.layOutPanels(), this.makeFoot()];
    this.root.replaceChildren(head, this.busy, this.alert, this.notice, body, foot);
    this.showNotices();
    this.root.dataset.live = String(store.live);
  }

  // All panels anew; those of which a scene has no use are hidden.
  makePanels() {
    const { store } = this;
    this.controls?.stop();
    this.controls = new Controls(store);
    this.atlas = new Atlas(store, this.controls.sort);
    this.choices = new Choices(store);
    this.mask = new MaskPanel(store);
    this.brush?.close();
    this.brush = new Brush(this);
    this.table = new Table(store);
    this.map?.stop();
    this.map = new NetworkMap(store);
    this.league = new League(store);
    this.film = new Film(store);
    this.matrix = new Matrix(store);
    this.marks = null;
    this.focus = new Focus(this);
    this.focus.root.append(this.choices.state); // in sight with the picture that it is about
    this.grid = new Grid(store);
  }

  // Where the panels stand: what a map or switches show first comes before the rest.
  layOutPanels() {
    const { scene } = this.store;
    const table =
      scene.map && !scene.switches
        ? h("details", { class: "bv-as-table" }, h("summary", {}, "The same as a table"), this.table.root)
        : this.table.root;
    return h(
      "div",
      { class: "bv-body" },
      this.focus.root,
      this.league.root,
      scene.switches ? this.grid.root : null,
      h(
        "div",
        { class: "bv-side" },
        this.controls.root,
        this.mask.root,
        this.brush.root,
        this.film.root,
        this.choices.root,
        scene.map ? null : this.atlas.root,
        this.table.short ? table : null,
      ),
      this.map.root,
      this.matrix.root,
      scene.map ? this.atlas.root : null,
      this.table.short ? null : table,
      scene.switches ? null : this.grid.root,
    );
  }

  // The title with the question, and buttons for the whole view.
  makeHead() {
    const { store } = this;
    const button = (text, title, task) =>
      h("button", { class: "bv-button", type: "button", title, on: { click: task } }, text);
    this.title = h(
      "div",
      { class: "bv-title", role: "heading", "aria-level": store.model.get("page") ? "1" : "3" },
      titleOf(store),
    );
    const switchOver = () => this.project(this.root.dataset.projector !== "true");
    this.projector = button("Projector", "Larger and with more contrast, for a projector", switchOver);
    this.project(this.root.dataset.projector === "true" || (store.model.get("page") && location.hash === "#projector"));
    return h(
      "header",
      { class: "bv-head" },
      h("div", { class: "bv-titles" }, this.title, h("div", { class: "bv-question" }, store.scene.question)),
      h(
        "div",
        { class: "bv-actions" },
        helpPanels(store),
        this.projector,
        button("Save PNG", "Save what is shown as a picture", () => this.try(() => this.savePicture())),
        button("Save state", "Save a file that opens this view again", () => this.try(() => saveState(store))),
      ),
    );
  }

  makeFoot() {
    const facts = this.store.scene.facts.map((fact) => h("span", {}, fact));
    return h("footer", { class: "bv-foot" }, facts);
  }

  // What a reader should know of this view: the scene's own notice, a lost kernel, a page without one.
  showNotices() {
    const { store } = this;
    const resting =
      "This page shows saved results. Run the notebook to move the pin or to switch parts: that needs a kernel.";
    const notices = [store.scene.notice, store.lost, store.resting ? resting : ""].filter(Boolean);
    this.notice.replaceChildren(...notices.map((text) => h("div", {}, text)));
    this.notice.hidden = !notices.length;
  }

  get stages() {
    return this.focus.stages;
  }
  get panels() {
    return [...this.map.panels, ...this.grid.panels];
  }
  get probe() {
    return this.focus.probe;
  }

  // Says so first, and lets the browser show it before the work begins.
  async savePicture() {
    this.saving = "Saving the picture …";
    this.say(this.saving);
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    try {
      await savePicture(this.store, this);
    } finally {
      this.saving = "";
      this.hear("look");
    }
  }

  project(on) {
    this.root.dataset.projector = String(Boolean(on));
    this.projector.setAttribute("aria-pressed", String(Boolean(on)));
    this.store.tell("look");
  }

  async try(task) {
    try {
      await task();
    } catch (error) {
      this.store.fail(error);
    }
  }

  // ---- drawing ----

  hear(what) {
    if (what === "scene") this.store.guard(() => this.build());
    if (what === "error") {
      const text = this.store.broken || this.store.problem || this.store.model.get("error");
      this.alert.textContent = text;
      this.alert.hidden = !text;
      if (!this.alert.isConnected) this.root.prepend(this.alert);
      return;
    }
    if (what === "point") {
      // A browser hands on one movement in a frame: waiting for the next frame would only show the value later.
      if (!this.frame) this.store.guard(() => this.drawPoint());
      return;
    }
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.store.guard(() => this.draw());
    });
  }

  draw() {
    const { store } = this;
    const { look, model } = store;
    this.say(
      this.saving ||
        model.get("busy") ||
        (store.waiting ? "Computing …" : "") ||
        (store.ready ? "" : "Waiting for the maps. If nothing comes, run the cell again.") ||
        model.get("progress") ||
        "",
    );
    if (!store.ready) return;
    this.focus.draw();
    if (this.focus.missing) {
      const name = channelName(store.scene, layerOf(store.scene, look.layer), look.channel);
      const list = store.scene.linked ? "All recorded steps" : "the list of channels";
      this.say(`${name[0].toUpperCase()}${name.slice(1)} is not in this page. The ones that are stand in ${list}.`);
    }
    const stale = new Set(model.get("stale") ?? []);
    this.root.dataset.waiting = String(Boolean(store.waiting || model.get("busy")));
    for (const panel of [...this.stages, ...this.panels]) panel.frame.dataset.stale = String(stale.has(panel.layer));
    this.grid.update(this.panels);
    this.controls.update(this.stages.find((stage) => stage.layer === look.layer));
    this.mask.update(this.stages);
    this.brush.update();
    this.atlas.update();
    this.choices.update();
    this.map.update();
    this.league.update();
    this.film.update();
    this.matrix.update();
    write(this.title, titleOf(store));
    this.table.update();
    const { marks } = store;
    if (marks !== this.marks || this.markedLayer !== look.layer) {
      this.marks = marks;
      this.markedLayer = look.layer;
      for (const panel of [...this.stages, ...this.panels]) panel.drawMarks(marks);
    }
    const [scale, left, top] = look.zoom;
    for (const [name, value] of [
      ["--zoom", scale],
      ["--left", left],
      ["--top", top],
    ])
      this.root.style.setProperty(name, value);
    this.root.dataset.zoomed = String(scale > 1);
    this.focus.drawScale();
    this.drawPoint();
  }

  say(text) {
    write(this.said, text);
    this.busy.hidden = !text;
    this.halt.hidden = text !== this.store.model.get("progress");
  }

  drawPoint() {
    const { store } = this;
    if (!store.ready || !this.stages.length) return;
    const { at } = store;
    for (const panel of [...this.stages, ...this.panels]) panel.mark(at);
    for (const panel of this.panels) write(panel.value, (at && panel.probe(at)?.short) ?? "\u00a0");
    this.root.dataset.pinned = String(!store.hover && store.look.pin.length === 2);
    this.focus.say(at);
  }
}

function render({ model, el }) {
  const element = el;
  try {
    const view = new View(storeOf(model), element);
    view.hear("data");
    return () => view.close();
  } catch (error) {
    element.replaceChildren(
      h("div", { class: "bv-alert", role: "alert" }, `This view cannot be drawn: ${error.message}`),
    );
    return () => {};
  }
}

function initialize({ model }) {
  try {
    storeOf(model);
  } catch (error) {
    console.error(error);
  }
}

export default { initialize, render };
