// The look of the page as the end of its address.
import { app, data } from "./state.js";

export function saveLink() {
  const { off } = app.map;
  const link = new URLSearchParams({ view: app.view, part: app.part });
  if (app.photo?.sample && app.photo.sample !== data.samples[0].name) link.set("photo", app.photo.sample);
  if (app.show !== "photo") link.set("show", app.show);
  if (off.length) link.set("off", off.join(","));
  try {
    history.replaceState(null, "", `#${link}`);
  } catch {
    // A page inside another one may not change its address.
  }
}

// Anybody can write an address: only names that this page knows count. Returns what was asked for.
export function readLink(hash = location.hash) {
  const link = new URLSearchParams(hash.slice(1));
  return chooseKnown({
    view: link.get("view"),
    part: link.get("part"),
    photo: link.get("photo"),
    show: link.get("show"),
    off: (link.get("off") ?? "").split(","),
  });
}

export function chooseKnown({ view, part, photo, show, off }) {
  const known = { off: Array.isArray(off) ? off.filter((name) => app.map.gates.has(name)) : [] };
  const recorded = view === "attribution" && data.gradients;
  if (recorded || data.views.some(({ scene }) => scene.view === view)) known.view = view;
  if (data.parts.some(({ name }) => name === part)) known.part = part;
  if (["photo", "cutout", "mask"].includes(show)) known.show = show;
  known.sample = data.samples.find(({ name }) => name === photo) ?? null;
  return known;
}
