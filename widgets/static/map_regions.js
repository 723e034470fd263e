// The regions behind the boxes of the map, such as a stage of the decoder, and where the names of regions and rows
// stand. Each function takes a measured `MapGrid`; `placed`: where the signs of each part stand.
import { SIGN_RADIUS } from "./map_signs.js";
import { AHEAD, LANE } from "./map_ways.js";

const LEVEL_WIDTH = 70; // pixels at the right of a folded row that its name takes

// These have their name at the left of their boxes, the others over them.
const isNamedAtLeft = ({ kind }) => kind === "head" || kind === "training";

// A region as {title, rects, x, y, anchor}: what it covers, and where its name stands.
export function outlineRegion(grid, region, placed) {
  const order = [...new Set(region.nodes.map((name) => grid.rowOf(name)))].sort((a, b) => a - b);
  const rects = order.map((row) => frameRow(grid, region, row, placed));
  const joints = rects.slice(1).map((rect, i) => ({
    left: Math.min(rects[i].left, rect.left),
    right: Math.max(rects[i].right, rect.right),
    top: grid.rows.get(order[i]).bottom,
    bottom: grid.rows.get(order[i + 1]).top,
  }));
  if (region.kind === "stage" && joints.length) makeStep(grid, rects, joints[0]);
  return { title: region.title, rects: [...rects, ...joints], ...nameRegion(grid, region, rects, order) };
}

// The rectangle round the boxes that a region has in a row, with room for their signs and for names.
function frameRow(grid, region, row, placed) {
  const names = region.nodes.filter((name) => grid.rowOf(name) === row);
  const left = Math.min(...names.map((name) => grid.boxes.get(name).left));
  const right = Math.max(...names.map((name) => grid.boxes.get(name).right));
  const hasSign = names.some((name) => grid.boxes.get(name).left === left && placed.get(name).some(([x]) => x < left));
  const named = isNamedAtLeft(region) ? 7 * region.title.length + 24 : 0;
  const before = named || (hasSign ? AHEAD + SIGN_RADIUS + 2 : 4);
  const [above, below] = roomAround(region.kind, grid.folded);
  const { top, bottom } = grid.rows.get(row);
  return { left: left - before, right: right + 4, top: top - above, bottom: bottom + below };
}

// How far a region reaches over and under its row.
function roomAround(kind, folded) {
  if (kind === "training") return [8, 8];
  if (kind === "stage") return folded ? [30, 7] : [7, LANE + 5];
  if (kind === "head") return folded ? [26, 8] : [8, LANE + 10];
  return [34, 8];
}

// A stage steps from its own resolution to the next finer one; between its two rows is room for its signs.
function makeStep({ folded }, rects, joint) {
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

// Where the name of a region stands: {x, y, anchor}.
function nameRegion(grid, region, rects, order) {
  const { kind, nodes } = region;
  if (isNamedAtLeft(region)) {
    const [first] = nodes.map((name) => grid.boxes.get(name)).sort((a, b) => a.left - b.left);
    return { x: first.left - 16, y: first.y + 4, anchor: "end" };
  }
  if (kind === "stage" && !grid.folded) return nameOpenStage(grid, region, rects.at(-1), order.at(-1));
  const [{ right }, { top }] = [rects[0], grid.rows.get(order[0])];
  if (kind === "stage") return { x: right - 6, y: top - 16, anchor: "end" };
  const free = grid.folded && isFull(grid, order[0]) ? grid.width - LEVEL_WIDTH - 8 : Infinity;
  return { x: Math.min(right - 8, free), y: top - LANE - 9, anchor: "end" };
}

// Where the name of a stage stands in a map that is not folded: over its lower row, at the right of the signs there.
function nameOpenStage(grid, { nodes }, { right }, row) {
  const inRow = nodes.filter((name) => grid.rowOf(name) === row);
  const signed = inRow.filter((name) => /^(decoder|outward)$/.test(grid.byName.get(name).group));
  const last = grid.boxes.get(signed.at(-1) ?? nodes[0]);
  const start = (signed.length > 1 ? last.left + AHEAD : last.x) + AHEAD;
  const y = grid.rows.get(row).top - 8;
  return right - start > 90 ? { x: right - 8, y, anchor: "end" } : { x: start, y, anchor: "start" };
}

// The names of the rows that the map has: {title, size, x, y, anchor}.
export function nameLevels(grid, levels) {
  const { folded, width, rows } = grid;
  const shown = levels.filter(({ row }) => rows.has(row));
  return shown.map(({ row, title, size }) => {
    const { top, bottom } = rows.get(row);
    const middle = (top + bottom) / 2;
    if (!folded) return { title, size, x: 0, y: middle, anchor: "start" };
    return { title, size, x: width - 14, y: isFull(grid, row) ? top - 24 : middle, anchor: "end" };
  });
}

// Whether boxes stand where a folded row has its name.
function isFull(grid, row) {
  const inRow = grid.nodes.filter(({ name }) => grid.rowOf(name) === row);
  return Math.max(...inRow.map(({ name }) => grid.boxes.get(name).right)) > grid.width - LEVEL_WIDTH;
}
