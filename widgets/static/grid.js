// All layers, small, in rows and columns: choosing one puts it into the large picture.
import { h, hyphenate } from "./dom.js";
import { channelName } from "./look.js";
import { MapPanel, PHOTO } from "./map_panel.js";
import { follow } from "./pointer_and_keys.js";
import { roveOver, setStop } from "./roving.js";

// A heading of several lines in one.
const inOneLine = (text) =>
  text
    .replace("-\n", "")
    .replace(/\n(?=\d|stride)/, ": ")
    .replaceAll("\n", " ");

export class Grid {
  constructor(store) {
    this.store = store;
    this.panels = [];
    this.buttons = [];
    this.root = h("div", { class: "bv-grid", role: "group", "aria-label": "All layers" });
    const { scene } = store;
    // The map of the network shows what the grid would, but not the masks of an ablation.
    this.root.hidden = !scene.rows.length || (Boolean(scene.map) && !scene.switches);
    if (!this.root.hidden) this.build(scene);
    roveOver(this.root, () => this.buttons);
  }

  build(scene) {
    this.root.style.setProperty("--columns", scene.columns.length);
    // A film has many rows.
    if (scene.linked) this.root.style.setProperty("--most", "150px");
    this.root.classList.toggle("bv-wide", scene.columns.length <= 5);
    const cells = [h("span")];
    for (const column of scene.columns)
      cells.push(h("div", { class: "bv-column", dataset: { heading: "" } }, hyphenate(column)));
    for (const row of scene.rows) {
      cells.push(h("div", { class: "bv-row", dataset: { heading: "" } }, row.title));
      this.buttons.push([]);
      row.cells.forEach((name, i) => cells.push(name ? this.add(name, scene.columns[i] ?? "") : h("span")));
    }
    this.root.replaceChildren(...cells);
  }

  add(name, column) {
    const { store } = this;
    const heading = h("span", { class: "bv-panel-column" }, hyphenate(inOneLine(column)));
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
        on: { click: () => store.guard(() => store.act({ type: "layer", layer: name })) },
      },
      heading,
      panel.frame,
      panel.label,
      panel.value,
    );
    this.buttons.at(-1).push(panel.button);
    return panel.button;
  }

  // Draws these panels: the grid's own, or those of the map of the network.
  update(panels) {
    for (const panel of panels) this.draw(panel);
    if (this.panels.length) setStop(this.buttons.flat(), this.chosen);
  }

  draw(panel) {
    panel.draw();
    if (!panel.button) return;
    const { group, look } = this.store;
    const pressed = String(group.includes(panel.layer));
    if (panel.layer === look.layer) this.chosen = panel.button;
    if (panel.told === `${pressed} ${panel.shownChannel}`) return;
    panel.told = `${pressed} ${panel.shownChannel}`;
    panel.button.setAttribute("aria-pressed", pressed);
    const name = channelName(this.store.scene, panel.info, panel.shownChannel);
    panel.frame.setAttribute("aria-label", `${panel.info.title}, ${name}`);
    panel.label.textContent = panel.info.channels === 1 ? "" : name.replace("channel", "ch");
  }
}
