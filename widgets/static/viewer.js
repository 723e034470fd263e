// The view: builds the page, listens, and redraws what changed once a frame.
import { Atlas } from "./atlas.js";
import { Brush } from "./brush.js";
import { Choices } from "./options.js";
import { Controls } from "./controls.js";
import { drawBar } from "./colour_bar.js";
import { cell, shortValue } from "./core.js";
import { coloursFor, layerOf } from "./look.js";
import { h, hyphenate, watchTheme } from "./dom.js";
import { follow, grab, key, KEYS } from "./pointer_and_keys.js";
import { MapPanel, PHOTO } from "./map_panel.js";
import { MaskPanel } from "./mask_panel.js";
import { Film } from "./film.js";
import { League } from "./league.js";
import { Matrix } from "./matrix.js";
import { NetworkMap } from "./network_map.js";
import { savePicture, saveState } from "./save.js";
import { storeOf } from "./store.js";
import { titleOf } from "./switches.js";
import { Table } from "./table.js";
import { WORDS } from "./words.js";

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
    const { scene } = store;
    this.root.dataset.viewer = scene.view;
    const button = (text, title, task) =>
      h("button", { class: "bv-button", type: "button", title, on: { click: () => this.try(task) } }, text);
    this.probe = h("output", { class: "bv-probe", dataset: { probe: "" }, "aria-live": "off" });
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
    const table =
      scene.map && !scene.switches
        ? h("details", { class: "bv-as-table" }, h("summary", {}, "The same as a table"), this.table.root)
        : this.table.root;
    this.stageRow = h("div", { class: "bv-stages" });
    this.stages = [];
    this.scale = h("div", { class: "bv-scale", "aria-hidden": "true" }, h("i"), h("span"));
    const zoom = h(
      "div",
      { class: "bv-zoom", role: "group", "aria-label": "Zoom" },
      button("−", "Zoom out", () => store.act({ type: "zoom", factor: 1 / 1.5 })),
      button("+", "Zoom in", () => store.act({ type: "zoom", factor: 1.5 })),
      button("Whole", "Show the whole picture", () => store.act({ type: "reset-zoom" })),
    );
    const known = KEYS.filter(([, , needs]) => !needs || !store.resting);
    const [keys, words] = [
      ["Keys", known],
      ["Words", WORDS],
    ].map(([title, list]) => panelOf(title, list));
    this.grid = h("div", { class: "bv-grid", role: "group", "aria-label": "All layers" });
    this.panels = [];
    this.body = h(
      "div",
      { class: "bv-body" },
      h("div", { class: "bv-focus" }, this.stageRow, h("div", { class: "bv-under" }, this.scale, zoom), this.probe),
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
      scene.switches ? this.grid : null,
      this.map.root,
      this.league.root,
      this.matrix.root,
      scene.map ? this.atlas.root : null,
      this.table.short ? null : table,
      scene.switches ? null : this.grid,
    );
    this.root.replaceChildren(
      h(
        "header",
        { class: "bv-head" },
        h(
          "div",
          { class: "bv-titles" },
          (this.title = h("div", { class: "bv-title", role: "heading", "aria-level": "3" }, titleOf(store))),
          h("div", { class: "bv-question" }, scene.question),
        ),
        h(
          "div",
          { class: "bv-actions" },
          words,
          keys,
          button("Save PNG", "Save what is shown as a picture", () => savePicture(store, this)),
          button("Save state", "Save a file that opens this view again", () => saveState(store)),
        ),
      ),
      this.busy,
      this.alert,
      this.notice,
      this.body,
      h(
        "footer",
        { class: "bv-foot" },
        scene.facts.map((fact) => h("span", {}, fact)),
      ),
    );
    const notices = [
      scene.notice,
      store.lost,
      store.resting
        ? "Without a kernel nothing is computed here: pin and switches stay where the results belong. Run the notebook to change them."
        : "",
    ].filter(Boolean);
    this.notice.replaceChildren(...notices.map((text) => h("div", {}, text)));
    this.notice.hidden = !notices.length;
    this.root.dataset.live = String(store.live);
    this.buildGrid();
  }

  buildGrid() {
    const { store } = this;
    const { scene } = store;
    this.what = scene.image.what ?? "photo";
    // The map of the network shows what the grid would, but not the masks of an ablation.
    this.grid.hidden = !scene.rows.length || (Boolean(scene.map) && !scene.switches);
    this.panels = [...this.map.panels];
    if (this.grid.hidden) return;
    this.grid.style.setProperty("--columns", scene.columns.length);
    this.grid.classList.toggle("bv-wide", scene.columns.length <= 5);
    const cells = [h("span")];
    for (const column of scene.columns)
      cells.push(h("div", { class: "bv-column", dataset: { heading: "" } }, hyphenate(column)));
    for (const row of scene.rows) {
      cells.push(h("div", { class: "bv-row", dataset: { heading: "" } }, row.title));
      row.cells.forEach((name, i) => cells.push(name ? this.gridPanel(name, scene.columns[i] ?? "") : h("span")));
    }
    this.grid.replaceChildren(...cells);
  }

  gridPanel(name, column) {
    const { store } = this;
    const heading = h("span", { class: "bv-panel-column" }, column.replace("-\n", "").replace("\n", " "));
    const panel = new MapPanel(store, "grid", name);
    panel.value = h("span", { class: "bv-value", dataset: { value: name } });
    panel.label = h("span", { class: "bv-panel-note" });
    this.panels.push(panel);
    follow(store, panel);
    if (name === PHOTO) {
      panel.label.textContent = "photo";
      return h("div", { class: "bv-panel" }, panel.frame, panel.label, panel.value);
    }
    panel.frame.setAttribute("role", "img");
    panel.button = h(
      "button",
      {
        class: "bv-panel",
        type: "button",
        title: panel.info.title,
        on: { click: () => this.try(() => store.act({ type: "layer", layer: name })) },
      },
      heading,
      panel.frame,
      panel.label,
      panel.value,
    );
    return panel.button;
  }

  // The pictures in focus: one, or a group that is to be compared.
  buildStages() {
    const { store } = this;
    const names = store.group;
    if (this.stages.map((stage) => stage.layer).join("\n") === names.join("\n")) return;
    if (this.stages.length === names.length) {
      this.stages.forEach((stage, i) => {
        stage.layer = names[i];
        stage.canvas.dataset.layer = names[i];
      });
      return;
    }
    this.stages = names.map((name, i) => {
      const stage = new MapPanel(store, i ? `focus-${i + 1}` : "focus", name, { backdrop: true });
      stage.frame.classList.add("bv-stage");
      Object.entries({ tabindex: "0", role: "application" }).forEach(([key, value]) =>
        stage.frame.setAttribute(key, value),
      );
      stage.frame.addEventListener("keydown", (event) => this.try(() => key(this, event)));
      follow(store, stage);
      grab(this, stage);
      return stage;
    });
    this.stageRow.replaceChildren(
      ...this.stages.map((stage) => {
        stage.caption = names.length > 1 ? h("div", { class: "bv-caption" }) : null;
        stage.bar =
          names.length > 1 ? h("canvas", { class: "bv-bar", width: 256, height: 1, "aria-hidden": "true" }) : null;
        return h(
          "div",
          { class: "bv-stage-box", style: { "--ratio": store.scene.image.width / store.scene.image.height } },
          stage.caption,
          stage.frame,
          stage.bar,
        );
      }),
    );
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
      model.get("busy") ||
        (store.waiting ? "Computing …" : "") ||
        (store.ready ? "" : "Waiting for the maps. If nothing comes, run the cell again.") ||
        model.get("progress") ||
        "",
    );
    if (!store.ready) return;
    this.buildStages();
    for (const stage of this.stages) {
      stage.draw();
      if (stage.bar) drawBar(stage.bar, store.colours.get(coloursFor(store.scene, look, stage.layer)));
      if (stage.caption)
        stage.caption.replaceChildren(
          store.scene.linked && stage.info.labels
            ? `${stage.info.title} · ${stage.info.labels[stage.shownChannel]}`
            : stage.info.title,
          h("span", {}, stage.plane ? `${stage.limits.map((limit) => shortValue(limit)).join(" to ")}` : ""),
        );
      stage.frame.setAttribute(
        "aria-label",
        `${stage.info.title}, channel ${stage.shownChannel}, over the photo. Arrow keys move the cursor.`,
      );
    }
    if (this.stages.some((stage) => stage.canvas.dataset.state === "missing")) {
      this.say(`Channel ${look.channel} is not in this page. The ones that are stand in the list of channels.`);
    }
    const stale = new Set(model.get("stale") ?? []);
    this.root.dataset.waiting = String(Boolean(store.waiting || model.get("busy")));
    for (const panel of [...this.stages, ...this.panels]) panel.frame.dataset.stale = String(stale.has(panel.layer));
    for (const panel of this.panels) this.drawPanel(panel);
    this.controls.update(this.stages.find((stage) => stage.layer === look.layer));
    this.mask.update(this.stages);
    this.brush.update();
    this.atlas.update();
    this.choices.update();
    this.map.update();
    this.league.update();
    this.film.update();
    this.matrix.update();
    this.title.textContent = titleOf(store);
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
    this.drawScale();
    this.drawPoint();
  }

  say(text) {
    this.said.textContent = text;
    this.busy.hidden = !text;
    this.halt.hidden = text !== this.store.model.get("progress");
  }

  drawPanel(panel) {
    panel.draw();
    if (!panel.button) return;
    const { look } = this.store;
    const { group } = this.store;
    const pressed = String(group.includes(panel.layer));
    if (panel.told === `${pressed} ${panel.shownChannel}`) return;
    panel.told = `${pressed} ${panel.shownChannel}`;
    panel.button.setAttribute("aria-pressed", pressed);
    panel.frame.setAttribute("aria-label", `${panel.info.title}, channel ${panel.shownChannel}`);
    panel.label.textContent = panel.info.channels === 1 ? "" : `ch ${panel.shownChannel}`;
  }

  // A bar of a round number of the photo's pixels.
  drawScale() {
    const { image } = this.store.scene;
    const width = this.stages[0].frame.clientWidth;
    const shown = image.width / this.store.look.zoom[0];
    const power = 10 ** Math.floor(Math.log10(shown / 3));
    const length = Math.max(1, [5, 2, 1].find((digit) => digit * power <= shown / 3) * power);
    this.scale.firstElementChild.style.width = `${(length / shown) * width}px`;
    this.scale.lastElementChild.textContent = `${length} px of the ${this.what}`;
  }

  drawPoint() {
    const { store } = this;
    if (!store.ready || !this.stages.length) return;
    const { at } = store;
    for (const panel of [...this.stages, ...this.panels]) panel.mark(at);
    for (const panel of this.panels) panel.value.textContent = (at && panel.probe(at)?.short) ?? "\u00a0";
    const parts = at ? this.stages.map((stage) => [stage, stage.probe(at)]).filter(([, probe]) => probe) : [];
    this.root.dataset.pinned = String(!store.hover && store.look.pin.length === 2);
    if (!parts.length) {
      const more = store.scene.regions && store.live ? " Drag with Shift to draw a region." : "";
      this.probe.textContent = `Move over a picture to read its values${store.resting ? "." : "; click to pin."}${more}`;
      return;
    }
    const [, first] = parts[0];
    const { image } = store.scene;
    this.probe.replaceChildren(
      ...parts
        .map(([stage, probe]) => [
          parts.length > 1 ? h("span", {}, stage.info.title.split(/:| · /)[0]) : null,
          h("strong", { dataset: { layer: stage.layer } }, probe.text),
        ])
        .flat()
        .filter(Boolean),
      h(
        "span",
        {},
        `at x ${cell(at[0], image.width, image.width)}, y ${cell(at[1], image.height, image.height)} of the ${this.what}`,
      ),
      h("span", {}, `cell column ${first.column}, row ${first.row}`),
    );
  }
}

// A button that opens a list of terms; Esc closes it.
function panelOf(title, list) {
  const details = h(
    "details",
    {
      class: "bv-keys",
      on: {
        keydown: (event) => {
          if (event.key !== "Escape") return;
          details.open = false;
          details.firstElementChild.focus();
        },
      },
    },
    h("summary", { class: "bv-button" }, title),
    h(
      "dl",
      {},
      list.map(([term, text]) => [h("dt", {}, term), h("dd", {}, text)]),
    ),
  );
  return details;
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
