// Where everything stands on the map of the network, and how it is drawn between its boxes: arrows, the signs of what is
// computed where they meet, and the names of regions and rows. Shared by the views' map and the explorer's.
import { h, svg } from "./dom.js";

// What is computed between the parts: a mark on a disc, in words, and how it is written in a formula.
export const SIGNS = {
  multiply: { mark: "M-3 -3L3 3M-3 3L3 -3", text: "multiplied, cell by cell", formula: (terms) => terms.join(" × ") },
  add: { mark: "M-4 0H4M0 -4V4", text: "added, cell by cell", formula: (terms) => terms.join(" + ") },
  concatenate: {
    mark: "M2.6 -2.8A3.8 3.8 0 1 0 2.6 2.8",
    text: "concatenated: the channels of one behind those of the other",
    formula: (terms) => `concatenated (${terms.join(", ")})`,
  },
  enlarge: {
    mark: "M0 4V-4M-3 -1L0 -4L3 -1",
    text: "enlarged (up-sampled) to the finer map",
    formula: (terms) => `enlarged (${terms.join(", ")})`,
  },
  shrink: {
    mark: "M0 -4V4M-3 1L0 4L3 1",
    text: "shrunk to the coarser size",
    formula: (terms) => `shrunk (${terms.join(", ")})`,
  },
};

const SIGN_RADIUS = 7;
const AHEAD = 12; // from the middle of a sign to the box that it stands at
const LANE = 10; // from a row of boxes to the way that goes along it
const FOLD_BELOW = 680; // pixels: on narrower pages the decoder goes on below the encoder
const ROW_GAP = { open: 38, folded: 56 };
const COLUMN_GAP = 13;
const REGION_EDGE = 7; // more of a gap where a region begins with a sign
const BUS = 5; // from the edge to the first of the ways along it
const LEVEL_WIDTH = 70; // pixels at the right of a folded row that its name takes
const ALIKE = 4; // pixels: a way this far off still goes straight

// ---- the grid ----

const placeOf = (node, folded) => (folded ? (node.fold ?? [node.row, node.column]) : [node.row, node.column]);
const isLast = ({ operations = [] }, i) => i === operations.length - 1;
const isUnary = ({ name }) => name === "enlarge" || name === "shrink";

// Whether the arrows of a box arrive from above or below, because what it reads stands there.
function arrivesUpright(node, byName, folded) {
  const { operations = [] } = node;
  if (!operations.length) return false;
  const first = byName.get(operations.flatMap(({ inputs }) => inputs).find((input) => typeof input === "string"));
  const [[row, column], [ownRow, ownColumn]] = [placeOf(first, folded), placeOf(node, folded)];
  if (row === ownRow) return false;
  return column === ownColumn || (operations.length === 1 && isUnary(operations[0]));
}

// The gap that a box needs at its left, for the signs that stand there.
function gapBefore(node, { byName, regionOf }, folded) {
  const { operations = [] } = node;
  if (!operations.length || arrivesUpright(node, byName, folded)) return COLUMN_GAP;
  const [row] = placeOf(node, folded);
  const beside = operations.filter(({ inputs: [first] }, i) => {
    const source = byName.get(first);
    return !isLast(node, i) && isUnary(operations[i]) && source && placeOf(source, folded)[0] === row;
  });
  const [source] = leavesOf(node, operations.length - 1);
  const edge = regionOf.get(source) === regionOf.get(node.name) ? 0 : REGION_EDGE;
  return (2 * SIGN_RADIUS + 2) * (1 + beside.length) + 3 + edge;
}

function indexOf({ nodes, regions = [] }) {
  return {
    byName: new Map(nodes.map((node) => [node.name, node])),
    regionOf: new Map(regions.flatMap(({ title, nodes: names }) => names.map((name) => [name, title]))),
  };
}

// Puts the boxes (elements by name) into a grid: columns that no part stands in take no room.
export function placeBoxes(field, map, boxes) {
  const { nodes } = map;
  const index = indexOf(map);
  const folded = field.parentElement.clientWidth < FOLD_BELOW;
  const used = [...new Set(nodes.map((node) => placeOf(node, folded)[1]))].sort((a, b) => a - b);
  const tracks = used.map((column, i) => {
    const inColumn = nodes.filter((node) => placeOf(node, folded)[1] === column);
    const gap = Math.max(...inColumn.map((node) => gapBefore(node, index, folded)));
    return i ? `${gap}px minmax(0, 1fr)` : "minmax(0, 1fr)";
  });
  field.dataset.folded = String(folded);
  field.style.gridTemplateColumns = tracks.join(" ");
  field.style.rowGap = `${folded ? ROW_GAP.folded : ROW_GAP.open}px`;
  // Without maps at the right end, the names of the stages need room there.
  field.style.paddingRight = folded || nodes.some(({ group }) => group === "inward") ? "" : "64px";
  for (const node of nodes) {
    const [row, column] = placeOf(node, folded);
    const { style } = boxes.get(node.name);
    style.gridRow = row + 1;
    style.gridColumn = 2 * used.indexOf(column) + 1;
  }
  return folded;
}

// ---- ways ----

// A way through points, with round corners.
export function roundWay(points) {
  const way = points.filter(([x, y], i) => !i || Math.hypot(x - points[i - 1][0], y - points[i - 1][1]) > 0.5);
  return way
    .map(([x, y], i) => {
      if (!i) return `M${x.toFixed(1)} ${y.toFixed(1)}`;
      if (i === way.length - 1) return `L${x.toFixed(1)} ${y.toFixed(1)}`;
      const [before, after] = [way[i - 1], way[i + 1]];
      const turn = (other) => {
        const far = Math.hypot(other[0] - x, other[1] - y);
        const share = Math.min(5, far / 2) / far;
        return `${(x + (other[0] - x) * share).toFixed(1)} ${(y + (other[1] - y) * share).toFixed(1)}`;
      };
      return `L${turn(before)}Q${x.toFixed(1)} ${y.toFixed(1)} ${turn(after)}`;
    })
    .join("");
}

// Shortens the end of a way, so that its arrow points at the rim of a sign.
function endAtRim(points) {
  const [x2, y2] = points.at(-1);
  const [x1, y1] = points.findLast(([x, y]) => Math.hypot(x - x2, y - y2) > 1) ?? [x2, y2];
  const far = Math.hypot(x2 - x1, y2 - y1) || 1;
  const share = Math.max(0, far - SIGN_RADIUS - 1) / far;
  const kept = points.slice(0, points.findLastIndex(([x, y]) => x === x1 && y === y1) + 1);
  return [...kept, [x1 + (x2 - x1) * share, y1 + (y2 - y1) * share]];
}

// Everything that is drawn, from the boxes {left, top, right, bottom, x, y} by name:
// ways {from, to, points}, with `from` a part or, after a sign, the parts that have met; signs {to, name, x, y, title};
// regions {kind, title, rects, x, y, anchor}; levels {lines, x, y, anchor}.
export function layOutMap({ nodes, edges, regions = [], levels = [] }, boxes, folded, width) {
  const { byName } = indexOf({ nodes });
  const rows = new Map();
  for (const node of nodes) {
    const [row] = placeOf(node, folded);
    const { top, bottom } = boxes.get(node.name);
    const seen = rows.get(row) ?? { top: Infinity, bottom: -Infinity };
    rows.set(row, { top: Math.min(seen.top, top), bottom: Math.max(seen.bottom, bottom) });
  }
  const rowOf = (name) => placeOf(byName.get(name), folded)[0];
  const columnOf = (name) => placeOf(byName.get(name), folded)[1];
  const inEncoder = new Set(nodes.filter(({ group }) => group === "encoder").map(({ name }) => name));
  const isBetween = (a, b) =>
    nodes.some(
      ({ name }) =>
        rowOf(name) === rowOf(a) &&
        columnOf(name) > Math.min(columnOf(a), columnOf(b)) &&
        columnOf(name) < Math.max(columnOf(a), columnOf(b)),
    );
  // The side of a row along which maps of the same row join: opposite to where the decoder goes on.
  const joinLane = (row) => (folded ? rows.get(row).top - LANE : rows.get(row).bottom + LANE);

  // Places of the signs of each part.
  const placed = new Map();
  const signs = [];
  for (const node of nodes) {
    const { operations = [] } = node;
    const box = boxes.get(node.name);
    const points = [];
    operations.forEach((operation, i) => {
      const parts = operation.inputs.filter((input) => typeof input === "string");
      const first = parts.length ? boxes.get(parts[0]) : null;
      const below = first && first.y > box.y;
      let point;
      if (isLast(node, i) && arrivesUpright(node, byName, folded)) {
        const source = boxes.get(operations.flatMap(({ inputs }) => inputs).find((one) => typeof one === "string"));
        point = [box.x, source.y > box.y ? box.bottom + AHEAD : box.top - AHEAD];
      } else if (isLast(node, i)) point = [box.left - AHEAD, box.y];
      else if (!parts.length) point = [box.x, points[operation.inputs[0]][1]];
      else if (rowOf(parts[0]) === rowOf(node.name)) point = [first.right + AHEAD - 2, first.y];
      else if (node.group === "encoder")
        point = [box.x, box.top - LANE]; // the finer levels
      else point = [first.x, below ? first.top - AHEAD : first.bottom + AHEAD];
      points.push(point);
      signs.push({
        to: node.name,
        name: operation.name,
        x: point[0],
        y: point[1],
        title: titleOfSign(node, i, byName),
      });
    });
    placed.set(node.name, points);
  }

  // From a box to a sign of another one.
  function wayTo(from, [x, y], to) {
    const a = boxes.get(from);
    const row = rows.get(rowOf(from));
    const own = rows.get(rowOf(to));
    const up = y < row.top;
    const aside = a.left + AHEAD; // leaves room for a name at the right
    if (from === "photo")
      return [
        [a.right, a.y],
        [x, a.y],
        [x, y],
      ];
    if (up || y > row.bottom) {
      // The finer levels go down along their column.
      if (inEncoder.has(to))
        return [
          [a.right, a.y + 8],
          [a.right + 7, a.y + 8],
          [a.right + 7, y],
          [x, y],
        ];
      const start = [x < a.left ? aside : a.x, up ? a.top : a.bottom];
      if (y < own.top || y > own.bottom || Math.abs(a.x - x) < ALIKE) return [start, [start[0], y], [x, y]];
      const lane = up ? row.top - LANE : row.bottom + LANE;
      return [start, [start[0], lane], [x, lane], [x, y]];
    }
    if (a.x > x)
      return [
        [a.x, folded ? a.top : a.bottom],
        [a.x, joinLane(rowOf(from))],
        [x, joinLane(rowOf(from))],
        [x, y],
      ];
    if (!isBetween(from, to))
      return [
        [a.right, y],
        [x, y],
      ];
    return [
      [a.x + 10, a.top],
      [a.x + 10, row.top - LANE],
      [x, row.top - LANE],
      [x, y],
    ];
  }

  // From a box to a box, where nothing is computed in between.
  let buses = 0;
  function wayBetween(from, to) {
    const [a, b] = [boxes.get(from), boxes.get(to)];
    const { group } = byName.get(to);
    const row = rows.get(rowOf(from));
    const down = a.y < b.y;
    if (from === "photo" && group === "inward") {
      const bus = width - BUS;
      return [
        [a.x, a.top],
        [a.x, row.top - LANE],
        [bus, row.top - LANE],
        [bus, b.y],
        [b.right, b.y],
      ];
    }
    if (group === "training")
      return [
        [a.x, a.bottom],
        [b.x, b.top],
      ];
    if (columnOf(from) === columnOf(to))
      return [
        [a.x, down ? a.bottom : a.top],
        [a.x, down ? b.top : b.bottom],
      ];
    if (rowOf(from) === rowOf(to))
      return a.x < b.x
        ? [
            [a.right, a.y],
            [b.left, b.y],
          ]
        : [
            [a.left, a.y],
            [b.right, b.y],
          ];
    if (group === "lateral") {
      const bus = BUS + 4 * buses;
      const lane = row.bottom + LANE - 3 + 3 * buses++;
      return [
        [a.x - 8, a.bottom],
        [a.x - 8, lane],
        [bus, lane],
        [bus, b.y],
        [b.left, b.y],
      ];
    }
    const lane = down ? row.bottom + LANE : row.top - LANE;
    return [
      [a.x, down ? a.bottom : a.top],
      [a.x, lane],
      [b.x, lane],
      [b.x, down ? b.top : b.bottom],
    ];
  }

  const ways = [];
  for (const { from, to, inside: within } of edges) {
    const { operations = [] } = byName.get(to);
    const at = operations.findIndex(({ inputs }) => inputs.includes(from));
    if (at >= 0) ways.push({ from, to, within, points: endAtRim(wayTo(from, placed.get(to)[at], to)) });
    else ways.push({ from, to, within, points: wayBetween(from, to) });
  }
  for (const node of nodes) {
    const { operations = [], name } = node;
    const points = placed.get(name);
    operations.forEach((operation, i) => {
      const { inputs } = operation;
      for (const input of inputs) {
        if (typeof input !== "number") continue;
        const [[x1, y1], [x2, y2]] = [points[input], points[i]];
        const from = leavesOf(node, input);
        ways.push({
          from,
          to: name,
          points: endAtRim([
            [x1, y1],
            [x2, y1],
            [x2, y2],
          ]),
          joined: true,
        });
      }
      if (!isLast(node, i)) return;
      const [x, y] = points[i];
      const box = boxes.get(name);
      const end = x < box.left ? [box.left, y] : [x, y < box.top ? box.top : box.bottom];
      ways.push({ from: leavesOf(node, i), to: name, points: [[x, y], end], joined: true });
    });
  }
  return { ways, signs, regions: outlineRegions(), levels: nameLevels() };

  // ---- names ----

  function outlineRegions() {
    return regions.map(({ kind, title, nodes: names }) => {
      const order = [...new Set(names.map(rowOf))].sort((a, b) => a - b);
      const rects = order.map((row) =>
        rectOfRow(
          kind,
          title,
          row,
          names.filter((name) => rowOf(name) === row),
        ),
      );
      const joints = rects.slice(1).map((rect, i) => ({
        left: Math.min(rects[i].left, rect.left),
        right: Math.max(rects[i].right, rect.right),
        top: rows.get(order[i]).bottom,
        bottom: rows.get(order[i + 1]).top,
      }));
      // A stage steps from its own resolution to the next finer one; between its two rows is room for its signs.
      if (kind === "stage" && joints.length) {
        const [joint] = joints;
        if (folded) {
          joint.top += 5;
          joint.bottom = joint.top + 18;
          rects[1].top = joint.top;
          rects[1].bottom -= 5;
        } else {
          joint.top += LANE + 7;
          rects[0].bottom = joint.bottom - 4;
          joint.bottom += 2;
        }
      }
      return { title, rects: [...rects, ...joints], ...nameRegion(kind, names, rects, order) };
    });
  }

  function rectOfRow(kind, title, row, names) {
    const [left, right] = [Math.min, Math.max].map((of, i) =>
      of(...names.map((name) => boxes.get(name)[i ? "right" : "left"])),
    );
    const { top, bottom } = rows.get(row);
    const [above, below] = {
      stage: folded ? [30, 7] : [7, LANE + 5],
      head: folded ? [26, 8] : [8, LANE + 10],
      training: [8, 8],
    }[kind] ?? [34, 8];
    const signed = names.some((name) => boxes.get(name).left === left && placed.get(name).some(([x]) => x < left));
    const named = kind === "head" || kind === "training";
    const before = named ? 7 * title.length + 24 : signed ? AHEAD + SIGN_RADIUS + 2 : 4;
    return { left: left - before, right: right + 4, top: top - above, bottom: bottom + below };
  }

  function nameRegion(kind, names, rects, order) {
    if (kind === "head" || kind === "training") {
      const first = boxes.get(names.reduce((a, b) => (boxes.get(b).left < boxes.get(a).left ? b : a)));
      return { x: first.left - 16, y: first.y + 4, anchor: "end" };
    }
    const at = kind === "stage" && !folded ? order.length - 1 : 0;
    const [{ right }, { top }] = [rects[at], rows.get(order[at])];
    const free = folded && isFull(order[at]) ? width - LEVEL_WIDTH - 8 : Infinity;
    if (kind !== "stage") return { x: Math.min(right - 8, free), y: top - LANE - 9, anchor: "end" };
    if (folded) return { x: right - 6, y: top - 16, anchor: "end" };
    // At the right of the signs over its row.
    const signed = names.filter(
      (name) => rowOf(name) === order[at] && /^(decoder|outward)$/.test(byName.get(name).group),
    );
    const last = boxes.get(signed.at(-1) ?? names[0]);
    const start = (signed.length > 1 ? last.left + AHEAD : last.x) + AHEAD;
    return right - start > 90 ? { x: right - 8, y: top - 8, anchor: "end" } : { x: start, y: top - 8, anchor: "start" };
  }

  // Whether boxes stand where a folded row has its name.
  function isFull(row) {
    const inRow = nodes.filter(({ name }) => rowOf(name) === row);
    return Math.max(...inRow.map(({ name }) => boxes.get(name).right)) > width - LEVEL_WIDTH;
  }

  function nameLevels() {
    const shown = levels.filter(({ row }) => rows.has(row));
    return shown.map(({ row, title, size }) => {
      const { top, bottom } = rows.get(row);
      const middle = (top + bottom) / 2;
      if (!folded) return { lines: [title, size], x: 0, y: middle, anchor: "start" };
      return { lines: [title, size], x: width - 14, y: isFull(row) ? top - 24 : middle, anchor: "end" };
    });
  }
}

// The parts that have met in a sign.
function leavesOf({ operations }, i) {
  return operations[i].inputs.flatMap((input) =>
    typeof input === "number" ? leavesOf({ operations }, input) : [input],
  );
}

// What a sign stands for, with the formula up to it.
function titleOfSign({ operations }, i, byName) {
  const write = (at) => {
    const { name, inputs } = operations[at];
    const terms = inputs.map((input) => {
      if (typeof input === "string") return byName.get(input).label.replaceAll("\u00ad", "");
      const inner = write(input);
      return operations[input].name === "multiply" && name !== "enlarge" ? `(${inner})` : inner;
    });
    return SIGNS[name].formula(terms);
  };
  const { text } = SIGNS[operations[i].name];
  return `${text[0].toUpperCase()}${text.slice(1)}: ${write(i)}`;
}

// ---- drawing ----

const drawSign = (name) => [
  svg("circle", { class: "bv-sign-disc", r: SIGN_RADIUS }),
  svg("path", { class: "bv-sign-mark", d: SIGNS[name].mark }),
];

const rectOf = ({ left, right, top, bottom }, radius = 7) =>
  `M${left + radius} ${top}H${right - radius}a${radius} ${radius} 0 0 1 ${radius} ${radius}V${bottom - radius}a${radius} ${radius} 0 0 1 ${-radius} ${radius}H${left + radius}a${radius} ${radius} 0 0 1 ${-radius} ${-radius}V${top + radius}a${radius} ${radius} 0 0 1 ${radius} ${-radius}Z`;

// The drawing under the boxes of a map. `boxes`: elements by name, in `field`.
export class MapLines {
  constructor(map, field, boxes) {
    Object.assign(this, { map, field, boxes });
    this.root = svg("svg", { class: "bv-map-lines", "aria-hidden": "true" });
    const arrow = svg("marker", {
      id: "bv-arrow",
      viewBox: "0 0 8 8",
      refX: "7",
      refY: "4",
      markerWidth: "8",
      markerHeight: "8",
      markerUnits: "userSpaceOnUse",
      orient: "auto",
    });
    arrow.append(svg("path", { d: "M0 0L8 4L0 8Z" }));
    const definitions = svg("defs");
    definitions.append(arrow);
    this.regions = svg("g");
    this.lines = svg("g");
    this.names = svg("g");
    this.root.append(definitions, this.regions, this.lines, this.names);
    this.ways = [];
  }

  // Draws everything anew where the page has put the boxes.
  draw() {
    const { map, field } = this;
    if (!field.clientWidth) return;
    const folded = placeBoxes(field, map, this.boxes);
    const [width, height] = [field.clientWidth, field.clientHeight];
    this.root.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const boxes = new Map(
      [...this.boxes].map(([name, { offsetLeft: left, offsetTop: top, offsetWidth, offsetHeight }]) => {
        const [right, bottom] = [left + offsetWidth, top + offsetHeight];
        return [name, { left, top, right, bottom, x: (left + right) / 2, y: (top + bottom) / 2 }];
      }),
    );
    const drawn = layOutMap(map, boxes, folded, width);
    const groups = new Map(map.nodes.map(({ name, group }) => [name, group]));
    this.ways = drawn.ways.map(({ from, to, points, within, joined }) => {
      const path = svg("path", {
        class: `${joined ? "bv-trunk" : "bv-edge"}${within ? " bv-inside" : ""}`,
        d: roundWay(points),
        "data-from": [from].flat().join(" "),
        "data-to": to,
        "data-group": from === "photo" ? "photo" : groups.get(to),
      });
      return { from: [from].flat(), to, path };
    });
    const signs = drawn.signs.map(({ to, name, x, y, title }) => {
      const sign = svg("g", { class: "bv-sign", transform: `translate(${x} ${y})`, "data-sign": name, "data-to": to });
      const said = svg("title");
      said.textContent = title;
      sign.append(said, ...drawSign(name));
      return sign;
    });
    const text = (said, x, y, anchor, name) => {
      const element = svg("text", { x, y, "text-anchor": anchor, class: name });
      element.textContent = said;
      return element;
    };
    this.regions.replaceChildren(
      ...drawn.regions.map(({ title, rects }) =>
        svg("path", { class: "bv-region", d: rects.map((rect) => rectOf(rect)).join(""), "data-region": title }),
      ),
    );
    this.lines.replaceChildren(...this.ways.map(({ path }) => path), ...signs);
    this.names.replaceChildren(
      ...drawn.regions.map(({ title, x, y, anchor }) => text(title, x, y, anchor, "bv-region-name")),
      ...drawn.levels.flatMap(({ lines, x, y, anchor }) =>
        lines.map((line, i) => text(line, x, y - 3 + 15 * i, anchor, i ? "bv-level-size" : "bv-level-name")),
      ),
    );
  }

  // Marks the ways to and from a part; returns the names of the parts at their ends.
  light(name) {
    const near = new Set([name]);
    for (const { from, to, path } of this.ways) {
      const on = to === name || from.includes(name);
      path.classList.toggle("bv-lit", on);
      if (on) for (const each of [...(to === name ? from : [name]), to]) near.add(each);
    }
    return near;
  }
}

// The signs that a map has, in words.
export function explainSigns({ nodes }) {
  const used = new Set(nodes.flatMap(({ operations = [] }) => operations.map(({ name }) => name)));
  return h(
    "ul",
    { class: "bv-signs", hidden: !used.size },
    Object.entries(SIGNS)
      .filter(([name]) => used.has(name))
      .map(([name, { text }]) => {
        const sign = svg("svg", { class: "bv-sign", viewBox: "-9 -9 18 18", "aria-hidden": "true" });
        sign.append(...drawSign(name));
        return h("li", { dataset: { sign: name } }, sign, text);
      }),
  );
}
