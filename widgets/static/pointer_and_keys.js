// Pointer, fingers and keys on the pictures.

export const KEYS = [
  ["← ↑ → ↓", "move the cursor by one cell (with Shift: ten)"],
  ["Enter", "pin the cursor; Esc takes the pin away", true],
  ["[  ]", "channel before, channel after"],
  ["PageUp PageDown", "layer before, layer after"],
  ["+  −  0", "zoom in, out, whole picture; drag to move"],
  ["Ctrl + wheel", "zoom at the pointer; on a touch screen, pinch"],
  ["C  R  O", "next colours, next range, map on or off"],
];

// Any picture moves the one cursor that all share.
export function follow(store, panel) {
  panel.frame.addEventListener("pointermove", (event) => store.point(panel.locate(event), panel.taps));
  panel.frame.addEventListener("pointerleave", () => store.point(null));
}

// The large picture can be clicked, dragged and zoomed; after the button Region, or with Shift, a region is drawn on it.
export function grab(view, stage) {
  const { store } = view;
  const fingers = new Map();
  let start = null;
  stage.frame.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, [event.clientX, event.clientY]);
    stage.frame.setPointerCapture(event.pointerId);
    const drawing = (event.shiftKey || view.focus.drawsRegion) && store.scene.regions && store.live;
    start = {
      x: event.clientX,
      y: event.clientY,
      moved: false,
      last: [event.clientX, event.clientY],
      corner: drawing ? stage.locate(event) : null,
    };
    if (fingers.size > 1) start = null; // a pinch
  });
  stage.frame.addEventListener("pointermove", (event) => {
    if (fingers.size === 2 && fingers.has(event.pointerId)) pinch(store, stage, fingers, event);
    if (!start) return;
    if (Math.hypot(event.clientX - start.x, event.clientY - start.y) > 4) start.moved = true;
    if (!start.moved) return;
    if (start.corner) store.sketch(regionOf(start.corner, stage.locate(event)));
    else if (store.look.zoom[0] > 1) {
      pan(store, stage, start.last, [event.clientX, event.clientY]);
      start.last = [event.clientX, event.clientY];
    }
  });
  stage.frame.addEventListener("pointerup", (event) => {
    fingers.delete(event.pointerId);
    if (start?.corner && start.moved) {
      view.try(() => store.drawRegion(regionOf(start.corner, stage.locate(event))));
      view.focus.askRegion(false);
    } else if (start && !start.moved) view.try(() => store.act({ type: "pin", point: stage.locate(event) }));
    start = null;
  });
  // The browser took the gesture over, to scroll the page.
  stage.frame.addEventListener("pointercancel", (event) => {
    fingers.delete(event.pointerId);
    start = null;
  });
  // Two fingers belong to the picture, one scrolls the page while the whole picture is in sight (see the style sheet).
  stage.frame.addEventListener("touchmove", (event) => event.touches.length > 1 && event.preventDefault(), {
    passive: false,
  });
  stage.frame.addEventListener(
    "wheel",
    (event) => {
      // A click puts the focus here as well, and must not keep the page from scrolling.
      if (!event.ctrlKey && !event.metaKey && !stage.frame.matches(":focus-visible")) return;
      event.preventDefault();
      const at = placeIn(stage.frame, [event.clientX, event.clientY]);
      store.act({ type: "zoom", factor: Math.exp(-event.deltaY / 300), at });
    },
    { passive: false },
  );
}

// A point of the screen in parts of an element.
function placeIn(element, [x, y]) {
  const box = element.getBoundingClientRect();
  return [(x - box.left) / box.width, (y - box.top) / box.height];
}

function pan(store, stage, [fromX, fromY], [toX, toY]) {
  const box = stage.sheet.getBoundingClientRect();
  store.act({ type: "pan", dx: (fromX - toX) / box.width, dy: (fromY - toY) / box.height });
}

// One of two fingers moved: their distance zooms about the middle between them, and the middle moves the picture.
function pinch(store, stage, fingers, event) {
  const measure = () => {
    const [[ax, ay], [bx, by]] = [...fingers.values()];
    return { distance: Math.hypot(ax - bx, ay - by), middle: [(ax + bx) / 2, (ay + by) / 2] };
  };
  const before = measure();
  fingers.set(event.pointerId, [event.clientX, event.clientY]);
  const after = measure();
  if (before.distance > 0)
    store.act({ type: "zoom", factor: after.distance / before.distance, at: placeIn(stage.frame, after.middle) });
  pan(store, stage, before.middle, after.middle);
}

// Two opposite corners as [left, top, right, bottom].
const regionOf = ([ax, ay], [bx, by]) => [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];

export function key(view, event) {
  const { store } = view;
  const { look, scene } = store;
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const reach = event.shiftKey ? 10 : 1;
  const move = { ArrowLeft: [-reach, 0], ArrowRight: [reach, 0], ArrowUp: [0, -reach], ArrowDown: [0, reach] }[
    event.key
  ];
  const next = (list, value, step = 1) => list[(list.indexOf(value) + step + list.length) % list.length];
  const order = store.order(look.layer);
  const names = scene.layers.map((layer) => layer.name);
  const offered = [...view.controls.range.options].filter((one) => !one.hidden && one.value !== "own");
  const ranges = offered.map((one) => one.value);
  const channel = (step) =>
    store.act({
      type: "channel",
      channel: order[Math.min(Math.max(order.indexOf(look.channel) + step, 0), order.length - 1)],
    });
  const tasks = {
    Enter: () => store.act({ type: "pin", point: store.at ?? [scene.image.width / 2, scene.image.height / 2] }),
    Escape: () => store.act({ type: "pin", point: null }),
    "[": () => channel(-1),
    "]": () => channel(1),
    PageUp: () => store.act({ type: "layer", layer: next(names, look.layer, -1) }),
    PageDown: () => store.act({ type: "layer", layer: next(names, look.layer) }),
    "+": () => store.act({ type: "zoom", factor: 1.5 }),
    "=": () => store.act({ type: "zoom", factor: 1.5 }),
    "-": () => store.act({ type: "zoom", factor: 1 / 1.5 }),
    0: () => store.act({ type: "reset-zoom" }),
    c: () => store.act({ type: "colormap", colormap: next(["auto", ...scene.colormaps], look.colormap) }),
    r: () => store.act({ type: "range", range: next(ranges, look.range) }),
    o: () => store.act({ type: "opacity", opacity: look.opacity > 0 ? 0 : 0.7 }),
  };
  const task = move
    ? () => {
        store.hover = null;
        store.act({
          type: "move",
          from: store.at ?? [scene.image.width / 2, scene.image.height / 2],
          dx: move[0],
          dy: move[1],
        });
        view.probe.setAttribute("aria-live", "polite");
      }
    : tasks[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!task) return;
  event.preventDefault();
  event.stopPropagation();
  task();
}
