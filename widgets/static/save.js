// Saving a view: as a picture, or as a state that opens it again.
import { LOOK } from "./store.js";
import { download, toBase64 } from "./dom.js";
import { channelName, layerOf } from "./look.js";
import { MARGIN, Paper, WIDTH } from "./paper.js";
import { titleOf } from "./switches.js";

// The widest column of a table.
const WIDEST = 240;

// The view with its labels and numbers as one PNG.
export async function savePicture(store, view) {
  const { scene, look } = store;
  const paper = new Paper(view);
  const ratio = scene.image.width / scene.image.height;
  paper.text(titleOf(store), MARGIN, paper.y, { size: 20, bold: true, width: WIDTH - 2 * MARGIN });
  paper.text(scene.question, MARGIN, paper.y + 28, { size: 13, muted: true });
  paper.y += 60;
  const { stages, controls } = view;
  const each = Math.min((WIDTH - 2 * MARGIN) / Math.max(stages.length, 2) - 10, 560 * ratio);
  stages.forEach((stage, i) => {
    const x = MARGIN + i * (each + 10);
    const caption = [...(stage.caption?.childNodes ?? [])].map((node) => node.textContent).join(" · ");
    paper.text(caption, x, paper.y - 2, { bold: true, width: each });
    paper.map(stage, x, paper.y + (stage.caption ? 18 : 0), each, each / ratio);
  });
  const bottom = paper.y + each / ratio + (stages.length > 1 ? 18 : 0);
  const [x, top] = stages.length > 1 ? [MARGIN, bottom + 14] : [MARGIN + each + 24, paper.y];
  const width = WIDTH - MARGIN - x;
  const off = view.choices.off.textContent;
  if (off) paper.text(off, x, top + 112, { bold: true, width });
  paper.text(controls.name.textContent, x, top, { size: 15, bold: true });
  const channel = scene.linked ? [] : [channelName(scene, layerOf(scene, look.layer), look.channel)];
  paper.text([controls.note.textContent, ...channel].join(" · "), x, top + 22, { muted: true, width });
  paper.steps.push((context) => context.drawImage(controls.bar, x, top + 46, width, 12));
  [...controls.ticks.children].forEach((tick, i) =>
    paper.text(tick.textContent, x + (width * i) / 2, top + 62, {
      size: 11,
      muted: true,
      align: ["left", "center", "right"][i],
    }),
  );
  paper.text([...controls.legend.children].map((key) => key.textContent).join("   "), x, top + 80, { muted: true });
  const masks = view.mask.root.hidden ? [] : [...view.mask.said.children];
  masks.forEach((line, i) =>
    paper.text(
      `${look.mask_as}, at ${look.threshold.toFixed(2)}: ${line.textContent}`,
      x,
      top + 130 + 16 * i,
      {
        size: 11,
        width,
      },
    ),
  );
  if (look.pin.length) paper.text(view.probe.innerText.replaceAll("\n", "   "), x, top + 98, {});
  // As on the page: a short table beside the picture, a long one below it.
  const { root, short } = view.table;
  const below = top + 132 + 16 * masks.length + (masks.length ? 8 : 0);
  const beside = short ? writeTable(paper, root, x, below, width) : below;
  paper.y = Math.max(bottom, beside) + 24;
  if (!short && !root.hidden) paper.y = writeTable(paper, root, MARGIN, paper.y, WIDTH - 2 * MARGIN) + 24;
  writeLeague(paper, view.league, ratio);
  writeGrid(paper, view, ratio);
  paper.text(scene.facts.join("   ·   "), MARGIN, paper.y, { size: 11, muted: true });
  paper.y += 16;
  download(`${scene.view}.png`, await paper.blob());
}

function writeTable(paper, root, x, top, width) {
  if (root.hidden) return top;
  const all = [...root.querySelectorAll("tr")];
  const first = Math.max(1, all.findIndex((row) => row.classList.contains("bv-first")) - 4);
  const rows = [all[0], ...all.slice(first, first + 24)].map((row) =>
    [...row.children].map((value) => value.textContent),
  );
  const step = Math.min(width / rows[0].length, WIDEST);
  const caption = root.querySelector("caption")?.textContent;
  if (caption) {
    paper.text(caption, x, top, { muted: true, size: 11, width });
    return writeRows(paper, rows, x, top + 20, step);
  }
  return writeRows(paper, rows, x, top, step);
}

function writeRows(paper, rows, x, top, step) {
  rows.forEach((cells, i) =>
    cells.forEach((text, j) => {
      paper.text(text, j ? x + (j + 1) * step : x, top + i * 20, {
        bold: i === 0 || j === 0,
        muted: i === 0,
        size: 11,
        align: j ? "right" : "left",
        width: step - 8,
      });
    }),
  );
  return top + rows.length * 20;
}

// The parts of an ablation in their order, each with what it changes.
function writeLeague(paper, { cards, said }, ratio) {
  if (!cards.size) return;
  paper.text(said.textContent, MARGIN, paper.y, { size: 11, muted: true, width: WIDTH - 2 * MARGIN });
  const wide = (WIDTH - 2 * MARGIN) / 4;
  const [each, high] = [84, 84 / ratio];
  const step = Math.max(high, 44) + 12;
  const ranked = [...cards.values()].sort((a, b) => Number(a.place) - Number(b.place));
  ranked.forEach(({ panel, title, number, text }, i) => {
    const [x, y] = [MARGIN + (i % 4) * wide, paper.y + 22 + Math.floor(i / 4) * step];
    paper.map(panel, x, y, each, high);
    [`${i + 1}  ${title}`, number.textContent, text.textContent].forEach((line, j) =>
      paper.text(line, x + each + 8, y + 15 * j, { size: 11, bold: j === 1, muted: j === 2, width: wide - each - 16 }),
    );
  });
  paper.y += 22 + Math.ceil(ranked.length / 4) * step + 12;
}

function writeGrid(paper, view, ratio) {
  const { columns, rows } = view.store.scene;
  if (!rows.length) return;
  const titles = 110;
  const each = Math.min((WIDTH - 2 * MARGIN - titles) / columns.length - 8, 210, 200 * ratio);
  const left = (i) => MARGIN + titles + i * (each + 8);
  columns.forEach((title, i) =>
    title
      .split("\n")
      .forEach((line, j) =>
        paper.text(line, left(i) + each / 2, paper.y + 14 * j, { size: 11, bold: true, muted: true, align: "center" }),
      ),
  );
  paper.y += 36;
  const panels = new Map(view.panels.map((panel) => [panel.layer, panel]));
  for (const { title, cells } of rows) {
    title
      .split("\n")
      .forEach((line, j) => paper.text(line, MARGIN, paper.y + 14 * j, { size: 11, bold: true, muted: true }));
    cells.forEach((name, i) => {
      const panel = panels.get(name);
      if (!panel) return;
      paper.map(panel, left(i), paper.y, each, each / ratio);
      paper.text(panel.label.textContent, left(i), paper.y + each / ratio + 3, { size: 9, muted: true });
      paper.text(panel.value.textContent, left(i) + each, paper.y + each / ratio + 3, {
        size: 9,
        bold: true,
        align: "right",
      });
    });
    paper.y += each / ratio + 24;
  }
}

// The same JSON that `viewer.state()` gives: the look, the scene, and the maps that the page holds.
export function stateOf(store) {
  const pieces = [];
  const parts = [];
  let offset = 0;
  const add = (part, bytes) => {
    parts.push({ ...part, offset, length: bytes.length });
    const padded = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
    padded.set(bytes);
    pieces.push(padded);
    offset += padded.length;
  };
  const bytesOf = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  for (const [name, { type, bytes }] of store.photoParts)
    add({ kind: "photo", type, ...(name ? { name } : {}) }, bytes);
  for (const [layer, values] of store.statistics) add({ kind: "statistics", layer }, bytesOf(values));
  for (const { codes, layer, channel, lo, hi, width, height } of store.cache.planes.values()) {
    add({ kind: "plane", layer, channel, lo, hi, width, height }, bytesOf(codes));
  }
  const blob = new Uint8Array(offset);
  for (let i = 0; i < pieces.length; i++) blob.set(pieces[i], parts[i].offset);
  const look = Object.fromEntries(LOOK.map((name) => [name, store.look[name]]));
  const rest = Object.fromEntries(
    ["marks", "table", "controls", "region", "stale", "league", "strokes"].map((name) => [name, store.model.get(name)]),
  );
  return { version: 1, scene: store.scene, look, ...rest, parts, blob: toBase64(blob) };
}

export function saveState(store) {
  download(`${store.scene.view}.json`, new Blob([JSON.stringify(stateOf(store))], { type: "application/json" }));
}
