// The ways between the boxes of the map, and the places of the signs where they meet. A way is a list of points [x, y].
// Each function takes a measured `MapGrid`.
import { explainSign, firstSource, isLast, listSources, SIGN_RADIUS } from "./map_signs.js";

export const AHEAD = 12; // from the middle of a sign to the box that it stands at
export const LANE = 10; // from a row of boxes to the way that goes along it
const BUS = 5; // from the edge to the first of the ways along it
const ALIKE = 4; // pixels: a way this far off still goes straight

// ---- signs ----

// Where the signs of each part stand: by name, a point for each of its operations.
export function placeSigns(grid) {
  const placed = new Map();
  for (const node of grid.nodes) {
    const points = [];
    for (const i of node.operations.keys()) points.push(placeSign(grid, node, i, points));
    placed.set(node.name, points);
  }
  return placed;
}

// Where the i-th sign of a part stands: the last one at its box, the others at what they read.
// `before`: the earlier ones.
function placeSign(grid, node, i, before) {
  const box = grid.boxes.get(node.name);
  if (isLast(node, i)) {
    if (grid.arrivesUpright(node)) return pointAhead(box, grid.boxes.get(firstSource(node)));
    return [box.left - AHEAD, box.y];
  }
  const { inputs } = node.operations[i];
  const source = inputs.find((input) => typeof input === "string");
  if (!source) return [box.x, before[inputs[0]][1]];
  const first = grid.boxes.get(source);
  if (grid.rowOf(source) === grid.rowOf(node.name)) return [first.right + AHEAD - 2, first.y];
  if (node.group === "encoder") return [box.x, box.top - LANE]; // the finer levels
  return pointAhead(first, box);
}

// The signs of all parts: {to, name, x, y, title}.
export function listSigns({ nodes, byName }, placed) {
  return nodes.flatMap((node) =>
    node.operations.map(({ name }, i) => {
      const [x, y] = placed.get(node.name)[i];
      return { to: node.name, name, x, y, title: explainSign(node, i, byName) };
    }),
  );
}

// ---- ways ----

// All ways: {from, to, inside, points}, `inside` one pass of the backbone or not; then those after a sign, `joined`,
// with the parts that have met there as `from`.
export function layWays(grid, edges, placed) {
  const along = edges.filter(({ from, to }) => goesAlongEdge(grid, from, to));
  const ways = edges.map((edge) => {
    const { from, to } = edge;
    const at = grid.byName.get(to).operations.findIndex(({ inputs }) => inputs.includes(from));
    if (at < 0) return { ...edge, points: layDirect(grid, from, to, along.indexOf(edge)) };
    return { ...edge, points: endAtRim(layToSign(grid, from, to, placed.get(to)[at])) };
  });
  return [...ways, ...grid.nodes.flatMap((node) => layJoined(grid, node, placed.get(node.name)))];
}

// From the signs of a part on: to its next sign, and from the last one to its box.
function layJoined(grid, node, points) {
  const join = (i, way) => ({ from: listSources(node, i), to: node.name, points: way, joined: true });
  const ways = node.operations.flatMap(({ inputs }, i) => {
    const signs = inputs.filter((input) => typeof input === "number");
    return signs.map((sign) => join(sign, endAtRim(goAcross(points[sign], ...points[i]))));
  });
  if (!points.length) return ways;
  const [x, y] = points.at(-1);
  const { left, top, bottom } = grid.boxes.get(node.name);
  const last = x < left ? goAcross([x, y], left) : goUpright([x, y], y < top ? top : bottom);
  return [...ways, join(points.length - 1, last)];
}

// From a box to a sign [x, y] of another one.
function layToSign(grid, from, to, [x, y]) {
  const a = grid.boxes.get(from);
  const { top, bottom } = grid.rowAround(from);
  if (from === "photo") return goAcross([a.right, a.y], x, y);
  if (y < top || y > bottom) return layToOtherRow(grid, from, to, [x, y]);
  if (a.x > x) {
    // Maps of one row join at the side of it that is opposite to where the decoder goes on.
    const [edge, lane] = grid.folded ? [a.top, top - LANE] : [a.bottom, bottom + LANE];
    return goUpright([a.x, edge], lane, x, y);
  }
  if (!grid.isBetween(from, to)) return goAcross([a.right, y], x);
  return goUpright([a.x + 10, a.top], top - LANE, x, y);
}

// From a box to a sign [x, y] above or below its row.
function layToOtherRow(grid, from, to, [x, y]) {
  const a = grid.boxes.get(from);
  const [row, own] = [grid.rowAround(from), grid.rowAround(to)];
  // The finer levels go down along their column.
  if (grid.byName.get(to).group === "encoder") return goAcross([a.right, a.y + 8], a.right + 7, y, x);
  const [edge, lane] = y < row.top ? [a.top, row.top - LANE] : [a.bottom, row.bottom + LANE];
  const start = [x < a.left ? a.left + AHEAD : a.x, edge]; // leaves room for a name at the right
  if (y < own.top || y > own.bottom || Math.abs(a.x - x) < ALIKE) return goUpright(start, y, x);
  return goUpright(start, lane, x, y);
}

// Whether the way between two boxes goes along the left edge, as it does to the lateral blocks of a folded map.
function goesAlongEdge(grid, from, to) {
  const isElsewhere = grid.rowOf(from) !== grid.rowOf(to) && grid.columnOf(from) !== grid.columnOf(to);
  return grid.byName.get(to).group === "lateral" && isElsewhere;
}

// From a box to a box, where nothing is computed in between. `i`: its place among the ways along the left edge, or -1.
function layDirect(grid, from, to, i) {
  const [a, b] = [grid.boxes.get(from), grid.boxes.get(to)];
  const { top, bottom } = grid.rowAround(from);
  const { group } = grid.byName.get(to);
  if (from === "photo" && group === "inward") {
    const bus = grid.width - BUS;
    return goUpright([a.x, a.top], top - LANE, bus, b.y, b.right);
  }
  const [start, end] = [pointAhead(a, b, 0), pointAhead(b, a, 0)];
  if (group === "training" || grid.columnOf(from) === grid.columnOf(to)) return [start, end];
  if (grid.rowOf(from) === grid.rowOf(to)) return [pointBeside(a, b), pointBeside(b, a)];
  if (i >= 0) return goUpright([a.x - 8, a.bottom], bottom + LANE - 3 + 3 * i, BUS + 4 * i, b.y, b.left);
  return goUpright(start, a.y < b.y ? bottom + LANE : top - LANE, ...end);
}

// ---- points ----

// A point over or under the middle of a box, on the side of another one, so far from its edge.
const pointAhead = ({ x, y, top, bottom }, other, far = AHEAD) => [x, other.y > y ? bottom + far : top - far];

// The middle of a box's left or right edge, on the side of another one.
const pointBeside = ({ x, y, left, right }, other) => [other.x > x ? right : left, y];

// Ways with right angles from a point: along to the first number, then up or down to the second, and so on; or up or
// down first.
const goAcross = (start, ...stops) => turnAt(start, stops, 0);
const goUpright = (start, ...stops) => turnAt(start, stops, 1);

function turnAt(start, stops, axis) {
  const points = [start];
  stops.forEach((stop, i) => {
    const [x, y] = points[i];
    points.push((i + axis) % 2 ? [x, stop] : [stop, y]);
  });
  return points;
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
