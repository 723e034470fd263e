// Two photos side by side: the maps of the feature pyramid for both, over one range, and their difference.
import { h } from "../../static/dom.js";
import { app, at, blobOf, complain, data, say } from "./state.js";

export const PAIRED = "paired";
export const SIDES = ["first", "second", "difference"];

// The pyramid's description, as Python wrote it, with three layers for each of its own; as widgets/views/paired.py does it.
export function pairTemplate({ scene, look }) {
  const alike = scene.layers.filter(({ base, kind }) => !base && kind !== "colour");
  const names = new Set(alike.map(({ name }) => name));
  const layers = alike.flatMap((layer) => {
    const group = SIDES.map((side) => `${layer.name} · ${side}`);
    return SIDES.map((side, i) => ({
      ...layer,
      name: group[i],
      title: `${side[0].toUpperCase()}${side.slice(1)} · ${layer.title}`,
      kind: side === "difference" ? "signed" : layer.kind,
      group,
      shares: side === "difference" ? [] : group.slice(0, 2),
      photo: side === "second" ? "second" : "",
    }));
  });
  const rows = scene.rows.map((row) => ({
    ...row,
    cells: row.cells.map((name) => (names.has(name) ? `${name} · difference` : name === "photo" ? name : null)),
  }));
  const title = { view: PAIRED, title: "Two photos", question: "What is different between two photos?" };
  const channels = Object.fromEntries(layers.map(({ name }) => [name, look.channels[name.split(" · ")[0]] ?? 0]));
  const layer = "decoder.stage2.out · difference";
  return { scene: { ...scene, ...title, layers, rows }, look: { ...look, layer, channels, pin: [] } };
}

// The choice of the other photo, above the view. `redraw()` draws the view again.
export function offerSecond(redraw) {
  const give = (blob) => chooseSecond(blob, redraw).catch(complain);
  const input = h("input", { type: "file", accept: "image/*", on: { change: () => give(input.files[0]) } });
  at("second").replaceChildren(
    h("span", { class: "quiet" }, "The second photo"),
    ...data.samples.map((sample) =>
      h(
        "button",
        {
          class: "sample",
          type: "button",
          title: sample.title,
          "aria-label": `Second photo: ${sample.title}`,
          on: { click: () => give(blobOf(sample)) },
        },
        h("img", { src: `data:image/jpeg;base64,${sample.data}`, alt: "" }),
      ),
    ),
    h("label", { class: "button small file" }, "Another file", input),
  );
}

async function chooseSecond(blob, redraw) {
  if (!blob) return;
  if (!app.live) await app.ask({});
  if (!app.live) return;
  say("The second photo is being read …");
  await app.source.second(blob);
  app.second = blob;
  say("The second photo is ready.");
  await redraw();
}
