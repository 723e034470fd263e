// Runs of the network: on a new photo, or again on the same one with other parts switched off.
import { saveLink } from "./link.js";
import { isReady, loadNetwork, whenItEnds } from "./network.js";
import { follow, showMaps, showSwitches } from "./panels.js";
import { app, at, calm, complain, data, measure, painted, root, setState } from "./state.js";

let busy = null;
let waiting = null;

// A wish is {blob, name, sample} for a new photo, or {} for another run. While one runs, only the last wish is kept.
export function ask(wish) {
  waiting = { ...waiting, ...wish, at: performance.now() };
  busy ??= work().finally(() => {
    busy = null;
  });
  return busy;
}
app.ask = ask;

async function work() {
  while (waiting) {
    const wish = waiting;
    waiting = null;
    try {
      calm();
      at("queue").hidden = isReady();
      const network = await loadNetwork();
      if (app.second && network.second !== app.second) await giveSecond(network, app.second);
      setState("running", "The network is at work …");
      // At least one frame shows that it runs.
      const [told] = await Promise.all([run(network, wish), painted()]);
      show(network, told, wish);
    } catch (error) {
      complain(error);
    }
    at("queue").hidden = true;
  }
}

// The worker's answer: the planes of the map, seconds, and for a new photo its size and picture.
function run(network, wish) {
  const blob = wish.blob ?? app.photo.blob;
  const common = { off: app.map.off, channels: app.channels };
  return network.photo === blob ? network.call("rerun", common) : network.call("run", { ...common, blob });
}

function show(network, told, wish) {
  const fresh = !app.live || Boolean(wish.blob);
  if (told.bitmap) {
    const blob = wish.blob ?? app.photo.blob;
    network.photo = blob;
    const { width, height, bitmap } = told;
    let bytes;
    const backdrop = () => (bytes ??= network.call("backdrop", {}));
    const { name, sample } = wish.blob ? wish : app.photo;
    app.photo = { width, height, bitmap, blob, name, sample, backdrop, ratio: width / height };
  }
  const [height, width] = data.network.size;
  app.photo.facts = [
    `photo ${app.photo.width} × ${app.photo.height}, seen by the network as ${width} × ${height}`,
    `computed on this device in ${told.seconds.toFixed(2)} s`,
  ];
  app.source = sourceOf(network);
  app.live = true;
  showMaps(told.planes);
  setState("done", `Computed on this device in ${told.seconds.toFixed(2)} s.`);
  measure(told.bitmap ? "photo" : "gate", wish.at, { forward: told.seconds, reading: told.reading });
  if (fresh) saveLink();
  followLater(!fresh);
}

// The views come after the map, and only when nobody waits for another run: the worker does one thing at a time.
let following = null;
function followLater(same) {
  const task = { same: same && (following?.same ?? true) };
  following = task;
  const start = () => {
    if (following !== task || waiting || root.dataset.state === "running") return;
    following = null;
    const begun = performance.now();
    follow(task.same)
      .then(() => measure("views", begun))
      .catch((error) => error.fatal || complain(error));
  };
  requestAnimationFrame(() => setTimeout(start));
}

// The other photo of the view of two; a network that was started again has to get it again.
function giveSecond(network, blob) {
  network.second = blob;
  return network.call("second", { blob });
}

const sourceOf = (network) => ({
  open: (view, channels) => network.call("open", { view, channels }),
  planes: (view, layer, channels) => network.call("planes", { view, layer, channels }),
  react: (view, look) => network.call("react", { view, look }),
  values: (layer) => network.call("values", { layer }),
  mask: () => network.call("mask"),
  second: (blob) => giveSecond(network, blob),
  secondBackdrop: () => network.call("backdrop", { other: true }),
  picture: (what) => network.call("picture", { what }),
});

// The parts that are off from now on.
export function setParts(off) {
  app.map.setGates(off);
  showSwitches(off);
  at("gate-note").textContent = off.length
    ? `${off.length} ${off.length === 1 ? "part is" : "parts are"} off`
    : "All parts are on";
  at("all-on").hidden = !off.length;
}

// The same, and a run without them.
export function switchParts(off) {
  setParts(off);
  saveLink();
  return ask({});
}
app.switchParts = switchParts;

whenItEnds((error) => {
  if (!busy) complain(error);
});
