// The large picture, or a group of them side by side, with the scale, the zoom and the values under the cursor.
import { drawBar } from "./colour_bar.js";
import { cell, shortValue } from "./core.js";
import { h, write } from "./dom.js";
import { channelName, coloursFor } from "./look.js";
import { MapPanel } from "./map_panel.js";
import { follow, grab, key } from "./pointer_and_keys.js";

export class Focus {
  constructor(view) {
    const { store } = view;
    Object.assign(this, { view, store, stages: [], what: store.scene.image.what ?? "photo" });
    this.row = h("div", { class: "bv-stages" });
    this.scale = h("div", { class: "bv-scale", "aria-hidden": "true" }, h("i"), h("span"));
    // What the colours of the marks mean: the rows of the table that have one.
    this.tones = h("div", { class: "bv-legend bv-tones", hidden: true });
    this.probe = h("output", { class: "bv-probe", dataset: { probe: "" }, "aria-live": "off" });
    const button = (text, title, action) =>
      h(
        "button",
        { class: "bv-button", type: "button", title, on: { click: () => view.try(() => store.act(action)) } },
        text,
      );
    this.region = h(
      "button",
      {
        class: "bv-button",
        type: "button",
        "aria-pressed": "false",
        title: "Draw a region: drag over the picture",
        hidden: !store.scene.regions || !store.live,
        on: { click: () => this.askRegion(!this.drawsRegion) },
      },
      "Region",
    );
    const zoom = h(
      "div",
      { class: "bv-zoom", role: "group", "aria-label": "Zoom" },
      this.region,
      button("−", "Zoom out", { type: "zoom", factor: 1 / 1.5 }),
      button("+", "Zoom in", { type: "zoom", factor: 1.5 }),
      button("Whole", "Show the whole picture", { type: "reset-zoom" }),
    );
    this.root = h(
      "div",
      { class: "bv-focus" },
      this.row,
      h("div", { class: "bv-under" }, this.scale, zoom),
      this.tones,
      this.probe,
    );
  }

  // The pictures in focus: one, or a group that is to be compared.
  build() {
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
      stage.frame.addEventListener("keydown", (event) => this.view.try(() => key(this.view, event)));
      follow(store, stage);
      grab(this.view, stage);
      return stage;
    });
    this.row.replaceChildren(
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

  // Short titles of pictures side by side: without the words that all have in common.
  nameOf(stage) {
    const titles = this.stages.map((one) => one.info.title.split(/: | · /));
    const [first] = titles;
    const alike = (at) => titles.every((title) => title.at(at) === first.at(at));
    const shortest = Math.min(...titles.map((title) => title.length));
    let [start, end] = [0, 0];
    while (start < shortest - 1 && alike(start)) start++;
    while (end < shortest - 1 - start && alike(-1 - end)) end++;
    const own = titles[this.stages.indexOf(stage)];
    return own.slice(start, own.length - end).join(" · ");
  }

  draw() {
    const { store } = this;
    const { look, scene } = store;
    this.build();
    this.nameTones();
    for (const stage of this.stages) {
      stage.draw();
      const shown = channelName(scene, stage.info, stage.shownChannel);
      if (stage.bar) drawBar(stage.bar, store.colours.get(coloursFor(scene, look, stage.layer)));
      if (stage.caption)
        stage.caption.replaceChildren(
          scene.linked ? `${this.nameOf(stage)} · ${shown.replaceAll(" ", "\u00a0")}` : this.nameOf(stage),
          h("span", {}, stage.plane ? `${stage.limits.map((limit) => shortValue(limit)).join(" to ")}` : ""),
        );
      stage.frame.setAttribute(
        "aria-label",
        `${stage.info.title}, ${shown}, over the photo. Arrow keys move the cursor.`,
      );
    }
  }

  nameTones() {
    const table = this.store.model.get("table");
    if (table === this.table) return;
    this.table = table;
    const rows = (table?.rows ?? []).filter(
      ({ tone }, i, all) => tone && all.findIndex((one) => one.tone === tone) === i,
    );
    this.tones.hidden = !rows.length;
    this.tones.replaceChildren(
      ...rows.map(({ tone, cells: [name] }) =>
        h("span", { class: "bv-key" }, h("i", { class: `bv-swatch bv-tone-${tone}` }), name),
      ),
    );
  }

  // Whether the next drag draws a region.
  get drawsRegion() {
    return this.region.getAttribute("aria-pressed") === "true";
  }
  askRegion(on) {
    this.region.setAttribute("aria-pressed", String(on));
    this.row.dataset.drawing = String(on);
  }

  get missing() {
    return this.stages.some((stage) => stage.canvas.dataset.state === "missing");
  }

  // A bar of a round number of the photo's pixels.
  drawScale() {
    const { image } = this.store.scene;
    // Its width as the page was last laid out: asking for it now would lay the page out once more in every frame.
    const width = this.stages[0].shownWidth || this.stages[0].frame.clientWidth;
    const shown = image.width / this.store.look.zoom[0];
    const power = 10 ** Math.floor(Math.log10(shown / 3));
    const length = Math.max(1, [5, 2, 1].find((digit) => digit * power <= shown / 3) * power);
    this.scale.style.visibility = this.stages[0].taps ? "hidden" : "";
    this.scale.firstElementChild.style.width = `${(length / shown) * width}px`;
    write(this.scale.lastElementChild, `${length} px of the ${this.what}`);
  }

  // The values under the cursor; true where they belong to the pin.
  say(at) {
    const { store } = this;
    const parts = at ? this.stages.map((stage) => [stage, stage.probe(at)]).filter(([, probe]) => probe) : [];
    if (!parts.length) {
      const more = store.scene.regions && store.live ? " Press Region and drag to draw one." : "";
      const pins = !store.resting && !this.stages[0].taps;
      this.probe.textContent = `Move over a picture to read its values${pins ? "; click to pin." : "."}${more}`;
      return;
    }
    const [, first] = parts[0];
    const { image } = store.scene;
    const [x, y] = [cell(at[0], image.width, image.width), cell(at[1], image.height, image.height)];
    const place = `column ${first.column}, row ${first.row}`;
    const where = store.atTaps
      ? [`tap in ${place} of the kernel`]
      : [`at x ${x}, y ${y} of the ${this.what}`, `cell ${place}`];
    this.probe.replaceChildren(
      ...parts
        .map(([stage, probe]) => [
          parts.length > 1 ? h("span", {}, this.nameOf(stage)) : null,
          h("strong", { dataset: { layer: stage.layer } }, probe.text),
        ])
        .flat()
        .filter(Boolean),
      ...where.map((text) => h("span", {}, text)),
    );
  }
}
