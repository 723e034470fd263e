// The drawing between the boxes of the map of the network, shared by the views' map and the explorer's: ways with
// arrows, signs where they meet, regions, and the names of regions and rows.
import { svg } from "./dom.js";
import { MapGrid, measureBoxes } from "./map_grid.js";
import { nameLevels, outlineRegion } from "./map_regions.js";
import { drawSign } from "./map_signs.js";
import { layWays, listSigns, placeSigns } from "./map_ways.js";

// Everything that is drawn on a measured grid, as numbers and words.
export function layOutMap({ edges, regions, levels }, grid) {
  const placed = placeSigns(grid);
  return {
    ways: layWays(grid, edges, placed),
    signs: listSigns(grid, placed),
    regions: regions.map((region) => outlineRegion(grid, region, placed)),
    levels: nameLevels(grid, levels),
  };
}

// The drawing under the boxes of a map. `boxes`: elements by name, in `field`.
export class MapLines {
  constructor(map, field, boxes) {
    Object.assign(this, { map, field, boxes });
    this.root = svg("svg", { class: "bv-map-lines", "aria-hidden": "true" });
    this.groups = new Map(map.nodes.map(({ name, group }) => [name, group]));
    this.regions = svg("g");
    this.lines = svg("g");
    this.names = svg("g");
    this.root.append(defineArrow(), this.regions, this.lines, this.names);
    this.ways = [];
  }

  // Draws everything anew where the page has put the boxes.
  draw() {
    const { map, field } = this;
    if (!field.clientWidth) return;
    const grid = new MapGrid(map, field.parentElement.clientWidth);
    grid.place(field, this.boxes);
    grid.measure(measureBoxes(this.boxes), field.clientWidth);
    this.root.setAttribute("viewBox", `0 0 ${field.clientWidth} ${field.clientHeight}`);
    const { ways, signs, regions, levels } = layOutMap(map, grid);
    this.ways = ways.map((way) => this.drawWay(way));
    this.regions.replaceChildren(...regions.map(drawRegion));
    this.lines.replaceChildren(...this.ways.map(({ path }) => path), ...signs.map(drawSignAt));
    this.names.replaceChildren(...regions.map(drawRegionName), ...levels.flatMap(drawLevelName));
  }

  // A way with the names of the parts at its ends, and its path.
  drawWay({ from, to, points, inside, joined }) {
    const path = svg("path", {
      class: `${joined ? "bv-trunk" : "bv-edge"}${inside ? " bv-inside" : ""}`,
      d: roundWay(points),
      "data-from": [from].flat().join(" "),
      "data-to": to,
      "data-group": from === "photo" ? "photo" : this.groups.get(to),
    });
    return { from: [from].flat(), to, path };
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

// The head of all arrows, as a marker to refer to.
function defineArrow() {
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
  return definitions;
}

// A way through points as a path with round corners.
function roundWay(points) {
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

// A region's rectangles as one path.
function drawRegion({ title, rects }) {
  return svg("path", { class: "bv-region", d: rects.map(roundRect).join(""), "data-region": title });
}

function roundRect({ left, right, top, bottom }) {
  const corner = (x, y) => `a7 7 0 0 1 ${x} ${y}`;
  return [
    `M${left + 7} ${top}H${right - 7}${corner(7, 7)}`,
    `V${bottom - 7}${corner(-7, 7)}`,
    `H${left + 7}${corner(-7, -7)}`,
    `V${top + 7}${corner(7, -7)}Z`,
  ].join("");
}

// A sign at its place, with a tooltip.
function drawSignAt({ to, name, x, y, title }) {
  const sign = svg("g", { class: "bv-sign", transform: `translate(${x} ${y})`, "data-sign": name, "data-to": to });
  const said = svg("title");
  said.textContent = title;
  sign.append(said, ...drawSign(name));
  return sign;
}

const drawRegionName = ({ title, x, y, anchor }) => drawText(title, x, y, anchor, "bv-region-name");

// A row's name, and under it its size.
const drawLevelName = ({ title, size, x, y, anchor }) => [
  drawText(title, x, y - 3, anchor, "bv-level-name"),
  drawText(size, x, y + 12, anchor, "bv-level-size"),
];

function drawText(said, x, y, anchor, name) {
  const element = svg("text", { x, y, "text-anchor": anchor, class: name });
  element.textContent = said;
  return element;
}
