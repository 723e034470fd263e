// The grid of the map of the network: the row and column of each part, the gaps between the columns, and where the page
// has put the boxes.
import { firstSource, isLast, isUnary, listSources, SIGN_RADIUS } from "./map_signs.js";

const FOLD_BELOW = 680; // pixels: on narrower pages the decoder goes on below the encoder
const ROW_GAP = { open: 38, folded: 56 };
const COLUMN_GAP = 13;
const REGION_EDGE = 7; // more of a gap where a region begins with a sign
const LEVELS_ROOM = 64; // at the right for the names of the rows, where no maps stand

export class MapGrid {
  // The map as Python describes it, for a page of a width.
  constructor({ nodes, regions }, pageWidth) {
    this.folded = pageWidth < FOLD_BELOW;
    this.nodes = nodes.map((node) => ({ operations: [], ...node }));
    this.byName = new Map(this.nodes.map((node) => [node.name, node]));
    this.regionOf = new Map(regions.flatMap(({ title, nodes: names }) => names.map((name) => [name, title])));
  }

  rowOf(name) {
    const { row, fold } = this.byName.get(name);
    return this.folded ? fold[0] : row;
  }
  columnOf(name) {
    const { column, fold } = this.byName.get(name);
    return this.folded ? fold[1] : column;
  }

  // Whether a box stands between two others of one row.
  isBetween(a, b) {
    const [left, right] = [this.columnOf(a), this.columnOf(b)].sort((one, other) => one - other);
    return this.nodes.some(({ name }) => {
      const column = this.columnOf(name);
      return this.rowOf(name) === this.rowOf(a) && column > left && column < right;
    });
  }

  // Whether the arrows of a box arrive from above or below, because what it reads first stands there.
  arrivesUpright(node) {
    const { name, operations } = node;
    const source = firstSource(node);
    if (this.rowOf(source) === this.rowOf(name)) return false;
    return this.columnOf(source) === this.columnOf(name) || (operations.length === 1 && isUnary(operations[0]));
  }

  // The gap that a box needs at its left: for its last sign, and for those that enlarge or shrink maps of its row.
  gapBefore(node) {
    const { name, operations } = node;
    if (!operations.length || this.arrivesUpright(node)) return COLUMN_GAP;
    const beside = operations.filter((operation, i) => {
      const [source] = operation.inputs;
      return (
        !isLast(node, i) && isUnary(operation) && this.byName.has(source) && this.rowOf(source) === this.rowOf(name)
      );
    });
    const [source] = listSources(node, operations.length - 1);
    const edge = this.regionOf.get(source) === this.regionOf.get(name) ? 0 : REGION_EDGE;
    return (2 * SIGN_RADIUS + 2) * (1 + beside.length) + 3 + edge;
  }

  // Puts the boxes, elements by name, into the grid of the field. Columns that no part stands in take no room.
  place(field, boxes) {
    const { nodes, folded } = this;
    const used = [...new Set(nodes.map(({ name }) => this.columnOf(name)))].sort((a, b) => a - b);
    const tracks = used.map((column, i) => {
      const inColumn = nodes.filter(({ name }) => this.columnOf(name) === column);
      const gap = Math.max(...inColumn.map((node) => this.gapBefore(node)));
      return i ? `${gap}px minmax(0, 1fr)` : "minmax(0, 1fr)";
    });
    field.dataset.folded = String(folded);
    field.style.gridTemplateColumns = tracks.join(" ");
    field.style.rowGap = `${folded ? ROW_GAP.folded : ROW_GAP.open}px`;
    const isFree = !folded && !nodes.some(({ group }) => group === "inward");
    field.style.paddingRight = isFree ? `${LEVELS_ROOM}px` : "";
    for (const { name } of nodes) {
      const { style } = boxes.get(name);
      style.gridRow = this.rowOf(name) + 1;
      style.gridColumn = 2 * used.indexOf(this.columnOf(name)) + 1;
    }
  }

  // Takes over how wide the field is and where the page has put the boxes: by name {left, top, right, bottom, x, y},
  // with the middle at x and y. Then `rows` tells the top and bottom of each row.
  measure(boxes, width) {
    Object.assign(this, { boxes, width, rows: new Map() });
    for (const { name } of this.nodes) {
      const { top, bottom } = boxes.get(name);
      const row = this.rows.get(this.rowOf(name)) ?? { top, bottom };
      this.rows.set(this.rowOf(name), { top: Math.min(row.top, top), bottom: Math.max(row.bottom, bottom) });
    }
  }

  // The top and bottom of the row in which a part stands.
  rowAround(name) {
    return this.rows.get(this.rowOf(name));
  }
}

// Where the page has put elements, by name.
export function measureBoxes(elements) {
  return new Map(
    [...elements].map(([name, { offsetLeft: left, offsetTop: top, offsetWidth, offsetHeight }]) => {
      const [right, bottom] = [left + offsetWidth, top + offsetHeight];
      return [name, { left, top, right, bottom, x: (left + right) / 2, y: (top + bottom) / 2 }];
    }),
  );
}
