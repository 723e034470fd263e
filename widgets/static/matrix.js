// How alike each layer of one network is to each of another: a map that can be clicked.
import { drawBar } from "./colour_bar.js";
import { h } from "./dom.js";

export class Matrix {
  constructor(store) {
    this.store = store;
    this.root = h("section", { class: "bv-matrix", hidden: !store.scene.matrix, "aria-label": "CKA of all layers" });
    if (store.scene.matrix) this.build(store.scene.matrix);
  }

  build({ titles, values, photos, cells }) {
    const { store } = this;
    const count = titles.length;
    const colours = store.colours.get("viridis");
    this.at = [0, 0];
    this.said = h("output", { class: "bv-matrix-said" }, "Point at a cell; a click shows the two layers.");
    this.cells = values.map((row, i) =>
      row.map((value, j) => {
        const at = 3 * Math.round(255 * Math.min(Math.max(value, 0), 1));
        return h("button", {
          class: "bv-matrix-cell",
          type: "button",
          tabindex: "-1",
          style: { background: `rgb(${colours.slice(at, at + 3).join(" ")})` },
          "aria-label": `${titles[i]} and ${titles[j]}: ${value.toFixed(2)}`,
          on: {
            click: () => store.guard(() => this.show(i, j)),
            pointerenter: () => this.tell(i, j),
            focus: () => this.tell(i, j),
          },
        });
      }),
    );
    this.cells[0][0].tabIndex = 0;
    this.field = h(
      "div",
      {
        class: "bv-matrix-field",
        role: "group",
        "aria-label": "Rows: layers of the first network, columns: of the second; arrow keys move",
        style: { "--count": count },
        on: { keydown: (event) => this.key(event) },
      },
      this.cells,
    );
    const bar = h("canvas", { class: "bv-bar", width: 256, height: 1, "aria-hidden": "true" });
    drawBar(bar, colours);
    const rests = `${photos} ${photos === 1 ? "photo" : "photos"}, ${cells} cells`;
    this.root.append(
      h("div", { class: "bv-layer-name" }, "CKA of each layer with each"),
      h(
        "div",
        { class: "bv-muted" },
        `Rests on ${rests}. Rows are the first network's layers, columns the second's, in the order of computation.`,
      ),
      h(
        "div",
        { class: "bv-matrix-row" },
        this.field,
        h(
          "div",
          { class: "bv-matrix-side" },
          bar,
          h(
            "div",
            { class: "bv-ticks" },
            ["0", "0.5", "1"].map((x) => h("span", {}, x)),
          ),
          this.said,
        ),
      ),
    );
  }

  tell(i, j) {
    const { titles, values } = this.store.scene.matrix;
    this.said.textContent = `${values[i][j].toFixed(4)}: ${titles[i]} (first) and ${titles[j]} (second)`;
  }

  // The two layers side by side.
  show(i, j) {
    const { store } = this;
    const { names } = store.scene.matrix;
    store.pair = [`${names[i]} · first`, `${names[j]} · second`];
    this.move(i, j);
    store.act({ type: "layer", layer: store.pair[0] });
    store.tell("look");
  }

  move(i, j) {
    const last = this.cells.length - 1;
    const [row, column] = [i, j].map((x) => Math.min(Math.max(x, 0), last));
    this.cells[this.at[0]][this.at[1]].tabIndex = -1;
    this.at = [row, column];
    this.cells[row][column].tabIndex = 0;
    this.cells[row][column].focus();
  }

  key(event) {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    this.move(this.at[0] + step[0], this.at[1] + step[1]);
  }

  update() {
    if (this.root.hidden) return;
    const { pair, look, scene } = this.store;
    const chosen = pair?.includes(look.layer) ? pair : [];
    const { names } = scene.matrix;
    this.cells.forEach((row, i) =>
      row.forEach((cell, j) =>
        cell.setAttribute(
          "aria-pressed",
          String(chosen[0] === `${names[i]} · first` && chosen[1] === `${names[j]} · second`),
        ),
      ),
    );
  }
}
