// Parts and channels that are switched off: their names in words, and switching them.
import { layerOf } from "./look.js";

// The parts that a view can switch, by layer name, with their titles.
export const switchable = (scene) => new Map((scene.switches?.options ?? []).map(({ value, title }) => [value, title]));

// The parts that are off, in words.
export function namesOff({ scene, look }) {
  const titles = switchable(scene);
  return look.ablated.map((entry) => {
    const [layer, channel] = entry.split("#");
    const title = titles.get(layer) ?? layerOf(scene, layer)?.title ?? layer;
    return channel === undefined ? title : `${title}, channel ${channel}`;
  });
}

// The view's title, with what is off.
export function titleOf(store) {
  const names = namesOff(store);
  return names.length ? `${store.scene.title} · without ${names.join("; ")}` : store.scene.title;
}

// Switches a part (`squeeze`) or a channel (`squeeze#3`) off, or on again.
export function toggle(store, entry) {
  const { ablated } = store.look;
  const rest = ablated.filter((other) => other !== entry);
  store.act({ type: "ablated", ablated: rest.length < ablated.length ? rest : [...rest, entry] });
}
