// Numbers beside the pictures: scores, or the rows of a comparison. A row that names a layer shows it when chosen.
import { bind, breakable, h, hyphenate } from "./dom.js";
import { layerOf } from "./look.js";
import { levelOf, scoreMask } from "./mask.js";
import { roveOver, setStop } from "./roving.js";

export class Table {
  constructor(store) {
    this.store = store;
    this.root = h("div", { class: "bv-table", hidden: true });
    this.chosen = () => (this.rows ?? []).filter((row) => row.classList.contains("bv-choose"));
    roveOver(this.root, () => this.chosen().map((row) => [row]));
  }

  // A short table stands beside the picture, and so does that of a film, which scrolls; a long one stands below it.
  get short() {
    const { columns, rows } = this.store.model.get("table") ?? {};
    return Boolean(rows?.length) && (rows.length <= 8 || Boolean(this.store.scene.linked)) && columns.length <= 5;
  }

  update() {
    const { store } = this;
    const table = store.model.get("table") ?? {};
    this.root.hidden = !table.rows?.length;
    if (table !== this.table) this.build(table);
    this.follow(table);
    for (const row of this.rows ?? []) {
      if (row.dataset.channel)
        row.setAttribute("aria-selected", String(Number(row.dataset.channel) === store.look.channel));
      if (row.dataset.layer) row.setAttribute("aria-selected", String(row.dataset.layer === store.look.layer));
    }
    const rows = this.chosen();
    setStop(
      rows,
      rows.find((row) => row.getAttribute("aria-selected") === "true"),
    );
  }

  // The column with the IoU of each row's mask is that of the threshold in force.
  follow({ follow, rows }) {
    const { store } = this;
    const { look, scene } = store;
    if (follow === undefined || !this.rows || this.root.hidden) return;
    const truth = store.plane(scene.truth, 0);
    const planes = rows.map((row) => store.plane(row.mask, 0));
    const state = [look.threshold, truth, ...planes];
    if (!truth || state.every((value, i) => value === this.followed?.[i])) return;
    this.followed = state;
    this.root.querySelector("thead tr").children[follow].textContent = `IoU at ${look.threshold.toFixed(2)}`;
    const real = levelOf(layerOf(scene, scene.truth).mask, 0.5);
    planes.forEach((plane, i) => {
      if (!plane) return;
      const level = levelOf(layerOf(scene, rows[i].mask).mask, look.threshold);
      this.rows[i].children[follow].textContent = scoreMask(plane, level, truth, real).iou.toFixed(4);
    });
  }

  build(table) {
    const { store } = this;
    this.table = table;
    this.followed = null;
    if (this.root.hidden) return;
    this.rows = table.rows.map(({ cells, layer, channel, status, first, tone }) => {
      const chosen = layer || channel !== undefined;
      const choose = () =>
        store.guard(() => store.act(layer ? { type: "layer", layer } : { type: "channel", channel }));
      const keyed = (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        event.stopPropagation();
        choose();
      };
      return h(
        "tr",
        {
          class: [first ? "bv-first" : "", chosen ? "bv-choose" : ""].join(" ").trim() || null,
          dataset: { status: status ?? "", layer: layer ?? "", channel: channel ?? "" },
          on: chosen ? { click: choose, keydown: keyed } : {},
        },
        cells.map((value, i) =>
          h(
            i ? "td" : "th",
            i ? {} : { scope: "row" },
            i === 0 && tone ? h("i", { class: `bv-swatch bv-tone-${tone}` }) : null,
            i ? bind(value) : breakable(String(value)),
          ),
        ),
      );
    });
    this.root.replaceChildren(
      h(
        "table",
        {},
        table.caption ? h("caption", {}, table.caption) : null,
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            table.columns.map((name) => h(name ? "th" : "td", name ? { scope: "col" } : {}, hyphenate(name))),
          ),
        ),
        h("tbody", {}, this.rows),
      ),
    );
    // A long table opens where it matters.
    const first = this.root.querySelector(".bv-first");
    if (first) requestAnimationFrame(() => (this.root.scrollTop = first.offsetTop - 120));
  }
}
