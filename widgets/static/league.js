// The league table of an ablation: each part off alone, ranked by what the mask loses. The page asks for one part after
// the other, so that it can stop at any time.
import { h } from "./dom.js";
import { layerOf } from "./look.js";
import { MapPanel } from "./map_panel.js";
import { follow } from "./pointer_and_keys.js";
import { roveOver, setStop } from "./roving.js";
import { switchable, toggle } from "./switches.js";

// A number with its sign; none where it rounds to nothing.
function signed(value) {
  const text = Math.abs(value).toFixed(4);
  return Number(text) ? `${value < 0 ? "−" : "+"}${text}` : text;
}

export class League {
  constructor(store) {
    this.store = store;
    this.cards = new Map();
    this.queue = [];
    this.button = h("button", { class: "bv-button", type: "button", on: { click: () => this.run() } }, "Try all parts");
    this.bar = h("progress", { class: "bv-league-bar", max: 1, hidden: true, "aria-label": "Parts tried" });
    this.said = h("span", { class: "bv-muted", role: "status" });
    this.list = h("ol", { class: "bv-league-list" });
    roveOver(this.list, () => this.buttons.map((button) => [button]));
    this.root = h(
      "section",
      { class: "bv-league", hidden: !store.scene.switches, "aria-label": "All parts, ranked by what the mask loses" },
      h("div", { class: "bv-league-head" }, this.button, this.bar, this.said),
      this.list,
    );
  }

  // The cards' buttons, from the first rank to the last.
  get buttons() {
    return [...this.cards.values()].sort((a, b) => a.place - b.place).map((card) => card.button);
  }
  get parts() {
    return [...switchable(this.store.scene).keys()];
  }
  get league() {
    return this.store.model.get("league") ?? {};
  }
  get how() {
    return this.store.model.get("controls")?.how ?? "zero";
  }
  get panels() {
    return [...this.cards.values()].map((card) => card.panel);
  }

  // Starts with the first part, or stops after the one that is tried now.
  run() {
    if (this.queue.length) this.queue = [];
    else {
      const done = this.league.how === this.how ? (this.league.scores ?? {}) : {};
      const left = this.parts.filter((part) => !(part in done));
      this.queue = left.length ? left : this.parts;
      this.ask();
    }
    this.update();
  }
  ask() {
    if (this.queue.length) this.store.send({ type: "try", part: this.queue[0] });
  }
  // The kernel has answered: on to the next part.
  hear() {
    const { store } = this;
    if (!this.queue.length) return;
    if (!store.live || store.model.get("error")) this.queue = [];
    if (!(this.queue[0] in (this.league.scores ?? {})) || this.league.how !== this.how) return;
    this.queue.shift();
    this.ask();
  }

  update() {
    const { store } = this;
    // A page that computes by itself switches parts, too, but has no map in its view and answers no trials.
    this.root.hidden = !store.scene.switches || !store.scene.map;
    if (this.root.hidden) return;
    this.hear();
    const { how, scores = {} } = this.league;
    const ranked = Object.keys(scores).sort(
      (a, b) => scores[b].lost - scores[a].lost || scores[b].change - scores[a].change,
    );
    const all = this.parts.length;
    const running = this.queue.length > 0;
    this.bar.hidden = !running;
    this.bar.value = (all - this.queue.length) / all;
    this.button.textContent = running ? "Stop" : ranked.length ? "Try all parts again" : "Try all parts";
    if (!running && ranked.length && ranked.length < all) this.button.textContent = "Try the other parts";
    this.button.hidden = !store.live;
    this.said.textContent = this.say(ranked.length, running, how);
    const most = Math.max(1e-6, ...ranked.map((part) => Math.abs(scores[part].lost)));
    ranked.forEach((part, rank) => this.draw(part, rank, scores[part], most));
    for (const [part, card] of this.cards) {
      if (part in scores) continue;
      card.root.remove();
      this.cards.delete(part);
    }
    setStop(this.buttons);
  }

  say(count, running, how) {
    const { store } = this;
    const all = this.parts.length;
    if (running) return `${all - this.queue.length} of ${all} parts tried`;
    if (!count)
      return store.live
        ? "Each part is switched off alone, and the parts are ranked by what the mask loses."
        : "No part was tried before this page was saved; that needs a kernel.";
    const against = store.scene.against ?? "the given mask";
    return `${count} of ${all} parts, each off alone (${how}), by the IoU that the mask loses against ${against}. A click switches a part.`;
  }

  draw(part, rank, { lost, change }, most) {
    const { store } = this;
    const title = switchable(store.scene).get(part);
    const layer = `change without ${part}`;
    if (!layerOf(store.scene, layer)) return;
    if (!this.cards.has(part)) {
      const panel = new MapPanel(store, "league", layer);
      panel.value = h("span", { class: "bv-value" });
      panel.label = h("span");
      follow(store, panel);
      const bar = h("i", { class: "bv-league-lost" });
      const number = h("b");
      const text = h("span", { class: "bv-muted" });
      const button = h(
        "button",
        {
          class: "bv-league-card",
          type: "button",
          dataset: { part },
          on: { click: () => store.guard(() => toggle(store, part)) },
        },
        panel.frame,
        h("span", { class: "bv-league-text" }, h("span", {}, title), h("span", {}, number, " ", text), bar),
      );
      this.cards.set(part, { panel, title, bar, number, text, button, root: h("li", {}, button) });
    }
    const card = this.cards.get(part);
    const off = store.look.ablated.includes(part);
    card.place = rank;
    card.number.textContent = `${signed(-lost)} IoU`;
    card.text.textContent = `mean change ${change.toFixed(4)}`;
    card.bar.style.width = `${(100 * Math.abs(lost)) / most}%`;
    card.bar.dataset.gain = String(lost < 0);
    card.button.setAttribute("aria-pressed", String(off));
    card.button.title = off ? "Switched off: a click switches it on" : "A click switches it off";
    card.button.disabled = !store.live;
    card.panel.draw();
    if (this.list.children[rank] !== card.root) this.list.insertBefore(card.root, this.list.children[rank] ?? null);
  }
}
