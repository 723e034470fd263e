// The chosen part and the chosen view, drawn by the front end of the notebooks on the run on show.
import { h } from "../../static/dom.js";
import { ATTRIBUTION, gradientSource, gradientTemplate } from "./gradients.js";
import { saveLink } from "./link.js";
import { makeModel } from "./live_model.js";
import { PAIRED, offerSecond } from "./paired.js";
import { showResult } from "./result.js";
import { app, at, complain, data } from "./state.js";

const shown = {}; // by place: what is drawn there

// The map of the network and the result.
export function showMaps(planes) {
  app.map.draw(planes, app.photo);
  showResult(planes.logits);
  at("photo-name").textContent = app.photo.name;
  at("facts").textContent = app.photo.facts.join(" · ");
}

// Part and view on a new run. `same`: the photo is the same, so that they can stay as they are and take new numbers.
export const follow = (same) => Promise.all([showPart(app.part, same), showView(app.view, same)]);

export async function showPart(name, same) {
  app.part = name;
  const part = app.map.select(name);
  at("part-title").textContent = part.title;
  const [channels, height, width] = part.shape;
  at("part-shape").textContent = `${channels} ${channels === 1 ? "map" : "maps"} of ${width} × ${height} cells`;
  at("part-text").textContent = data.about[part.kindOf].join(" ");
  const readers = data.parts.filter(({ inputs }) => inputs.includes(name)).map((one) => one.name);
  const nobody = h("span", { class: "chip" }, name === "logits" ? "the mask" : "the training only");
  at("part-in").replaceChildren(...part.inputs.map(chip));
  at("part-out").replaceChildren(...(readers.length ? readers.map(chip) : [nobody]));
  at("part-notebook").textContent = `${part.notebook}.ipynb`;
  await render("part", data.part, at("part-view"), { same, only: name });
}

function chip(name) {
  if (name === "photo") return h("span", { class: "chip" }, "the photo");
  const part = data.parts.find((one) => one.name === name);
  return h(
    "button",
    { class: "chip", type: "button", dataset: { group: part.group }, on: { click: () => choosePart(name) } },
    part.title,
  );
}

export async function showView(name, same) {
  app.view = name;
  for (const button of at("tabs").children) {
    const chosen = button.dataset.view === name;
    button.setAttribute("aria-selected", String(chosen));
    button.tabIndex = chosen ? 0 : -1;
  }
  at("second").hidden = name !== PAIRED;
  if (name === PAIRED) offerSecond(() => showView(name));
  if (name !== ATTRIBUTION) {
    const template = data.views.find(({ scene }) => scene.view === name);
    return render("view", template, at("view"), { same });
  }
  const source = await gradientSource(app.photo.sample);
  return render("view", await gradientTemplate(), at("view"), { source });
}

// `only`: of a scene with all parts, the one to draw.
async function render(place, template, element, { same, only = null, source = app.source }) {
  const { view } = template.scene;
  const before = shown[place];
  if (before?.model) app.looks[before.view] = { ...app.looks[before.view], ...lookOf(before) };
  if (same && before?.model && before.view === view && before.only === only) {
    await before.model.refresh(app.source);
    return;
  }
  const ticket = (shown[place] = { view, only });
  const look = { ...app.looks[view], ...(only ? { layer: only } : {}) };
  const options = { only, onSwitch: app.switchParts };
  const model = source && (await makeModel(template, source, app.photo, look, options));
  if (shown[place] !== ticket) return;
  before?.close?.();
  if (!model) {
    element.replaceChildren(h("p", { class: "hint" }, ...whyNot(view)));
    return;
  }
  if (template.scene.switches) model.values.ablated = app.map.off;
  ticket.model = model;
  app.widget.initialize({ model });
  const sheet = h("div");
  ticket.close = app.widget.render({ model, el: sheet });
  element.replaceChildren(sheet);
  await model.react();
}

function whyNot(view) {
  if (view === ATTRIBUTION)
    return [
      "Gradients are not computed in a page. Choose a sample photo for recorded ones; notebook 10 computes them.",
    ];
  if (view === PAIRED && app.live) return ["Choose a second photo above."];
  const run = () => app.ask({});
  const button = h("button", { class: "button", type: "button", on: { click: run } }, "Run the network on this photo");
  return ["The recorded run does not hold these maps. ", button];
}

// The part's view has one layer at a time: which channels were chosen of the others stays.
function lookOf({ view, model }) {
  const { look } = model;
  return { ...look, channels: { ...app.looks[view]?.channels, ...look.channels } };
}

// The look of each view, for a file of the state.
export function currentLooks() {
  for (const one of Object.values(shown))
    if (one.model) app.looks[one.view] = { ...app.looks[one.view], ...lookOf(one) };
  return app.looks;
}

// The next drawing begins with what `app.looks` says.
export function forgetViews() {
  for (const one of Object.values(shown)) one.model = null;
}

export function choosePart(name) {
  showPart(name).catch(complain);
  saveLink();
}
export function chooseView(name) {
  showView(name).catch(complain);
  saveLink();
}

// The switches of the ablation view follow the boxes of the map.
export function showSwitches(off) {
  const model = shown.view?.model;
  if (model?.get("scene").switches && JSON.stringify(model.get("ablated")) !== JSON.stringify(off))
    model.set("ablated", off);
}
