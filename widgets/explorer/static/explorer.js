// The page: the recorded run at once, the network when it has loaded, one's own photos after that.
import { h } from "../../static/dom.js";
import { ATTRIBUTION } from "./gradients.js";
import { readLink, saveLink } from "./link.js";
import { loadNetwork } from "./network.js";
import { NetworkMap } from "./network_map.js";
import { choosePart, chooseView, follow, forgetViews, showMaps } from "./panels.js";
import { pairTemplate } from "./paired.js";
import { takeSample, watchPhotos } from "./photos.js";
import { listQuestions } from "./questions.js";
import { openRecorded } from "./recorded.js";
import { showResult } from "./result.js";
import { ask, setParts, switchParts } from "./runs.js";
import { watchSaving } from "./saving.js";
import { app, at, calm, complain, data, measure, painted, root, setState, unpackText } from "./state.js";

globalThis.explorer = {
  values: async (layer) => {
    const found = await app.source.values(layer);
    if (!found) throw new Error(`There are no values of ${layer} here. Run the network on a photo first.`);
    return found;
  },
  mask: () => app.source.mask(),
};

function openPart(name) {
  choosePart(name);
  at("part").scrollIntoView({ behavior: app.stillness ? "auto" : "smooth", block: "nearest" });
}

function build() {
  app.stillness = matchMedia("(prefers-reduced-motion: reduce)").matches;
  app.map = new NetworkMap(data.parts, data.map, { onOpen: openPart, onGates: () => switchParts(app.map.off) });
  at("map").append(app.map.root);
  at("map").after(app.map.signs);
  const pyramid = data.views.find(({ scene }) => scene.view === "feature_pyramid");
  data.views.push(pairTemplate(pyramid));
  at("tabs").append(...data.views.map(({ scene }) => tab(scene)));
  if (data.gradients) at("tabs").append(tab({ view: ATTRIBUTION, title: "Attribution", question: WHY }));
  at("tabs").addEventListener("keydown", walkTabs);
  watchPhotos();
  listQuestions();
  watchSaving(openState);
  at("restart").addEventListener("click", () => ask({}));
  at("alert-close").addEventListener("click", calm);
  at("all-on").addEventListener("click", () => switchParts([]));
  for (const [button, place] of [
    ["to-map", "map-card"],
    ["to-questions", "questions-card"],
  ])
    at(button).addEventListener("click", () =>
      at(place).scrollIntoView({ behavior: app.stillness ? "auto" : "smooth" }),
    );
  at("play").addEventListener("click", play);
  at("theme").addEventListener("click", switchTheme);
  for (const radio of root.querySelectorAll("input[name=show]"))
    radio.addEventListener("change", () => chooseShow(radio.value));
  at("notices").addEventListener("toggle", async () => {
    if (!at("notices-text").textContent)
      at("notices-text").textContent = new TextDecoder().decode(await unpackText("notices"));
  });
  addEventListener("hashchange", () => openLink().catch(complain));
}

const WHY = "Which pixels speak for the mask? Recorded for the sample photos";

function tab({ view, title, question }) {
  return h(
    "button",
    {
      class: "tab",
      type: "button",
      role: "tab",
      dataset: { view },
      title: question,
      on: { click: () => chooseView(view) },
    },
    title,
  );
}

// One stop for the Tab key; the arrows walk.
function walkTabs(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const tabs = [...at("tabs").children];
  const next = tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length];
  next.focus();
  next.click();
}

function play() {
  at("play").textContent = app.map.playing ? "▶ Play" : "■ Stop";
  app.map.play((part) => {
    at("caption").textContent = part ? `${part.title}: ${part.shape.join(" × ")}` : "";
    if (!part) at("play").textContent = "▶ Play";
  });
}

function chooseShow(show) {
  app.show = show;
  root.querySelector(`input[name=show][value=${show}]`).checked = true;
  showResult();
  saveLink();
}

function switchTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
}

// ---- what a link or a file asks for ----

async function openLink() {
  const wish = readLink();
  const before = app.map.off.join();
  look(wish);
  if (wish.sample && wish.sample.name !== app.photo.sample) await takeSample(wish.sample);
  else if (wish.off.join() !== before) await ask({});
  else await follow(app.live);
}

async function openState(wish, photo) {
  look(wish);
  forgetViews();
  app.looks = wish.looks;
  await ask(photo);
}

function look({ part, view, show, off }) {
  if (part) app.part = part;
  if (view) app.view = view;
  if (show) chooseShow(show);
  setParts(off);
}

// ---- the start ----

async function start() {
  build();
  const wish = readLink();
  const planes = await openRecorded();
  look(wish);
  showMaps(planes);
  app.map.select(app.part);
  setState("recorded", "A recorded run. The network loads in a moment.");
  measure("recorded", 0);
  await painted();
  const code = document.getElementById("views").textContent;
  const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  app.widget = (await import(url)).default;
  URL.revokeObjectURL(url);
  await follow(false);
  await painted();
  await loadNetwork();
  measure("ready", 0);
  if (wish.sample) await takeSample(wish.sample);
  else if (wish.off.length) await ask({});
}

start().catch(complain);
