// Pointer and keys on the pictures.

export const KEYS = [
  ["← ↑ → ↓", "move the cursor by one cell (with Shift: ten)"],
  ["Enter", "pin the cursor; Esc takes the pin away", true],
  ["[  ]", "channel before, channel after"],
  ["PageUp PageDown", "layer before, layer after"],
  ["+  −  0", "zoom in, out, whole picture; drag to move"],
  ["C  R  O", "next colours, next range, map on or off"],
];

// Any picture moves the one cursor that all share.
export function follow(store, panel) {
  panel.frame.addEventListener("pointermove", (event) => store.point(panel.locate(event)));
  panel.frame.addEventListener("pointerleave", () => store.point(null));
}

// The large picture can be clicked, dragged and zoomed; with Shift a region is drawn on it, where the view knows regions.
export function grab(view, stage) {
  const { store } = view;
  let start = null;
  stage.frame.addEventListener("pointerdown", (event) => {
    const drawing = event.shiftKey && store.scene.regions && store.live;
    start = {
      x: event.clientX,
      y: event.clientY,
      moved: false,
      last: [event.clientX, event.clientY],
      corner: drawing ? stage.locate(event) : null,
    };
    stage.frame.setPointerCapture(event.pointerId);
  });
  stage.frame.addEventListener("pointermove", (event) => {
    if (!start) return;
    if (Math.hypot(event.clientX - start.x, event.clientY - start.y) > 4) start.moved = true;
    if (!start.moved) return;
    if (start.corner) store.sketch(regionOf(start.corner, stage.locate(event)));
    else if (store.look.zoom[0] > 1) {
      const box = stage.sheet.getBoundingClientRect();
      store.act({
        type: "pan",
        dx: (start.last[0] - event.clientX) / box.width,
        dy: (start.last[1] - event.clientY) / box.height,
      });
      start.last = [event.clientX, event.clientY];
    }
  });
  stage.frame.addEventListener("pointerup", (event) => {
    if (start?.corner && start.moved) view.try(() => store.drawRegion(regionOf(start.corner, stage.locate(event))));
    else if (start && !start.moved) view.try(() => store.act({ type: "pin", point: stage.locate(event) }));
    start = null;
  });
  stage.frame.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey && !event.metaKey && document.activeElement !== stage.frame) return;
      event.preventDefault();
      const box = stage.frame.getBoundingClientRect();
      const at = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
      store.act({ type: "zoom", factor: Math.exp(-event.deltaY / 300), at });
    },
    { passive: false },
  );
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
    r: () => store.act({ type: "range", range: next(["map", "layer", "all"], look.range) }),
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
