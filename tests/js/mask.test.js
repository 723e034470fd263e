// Masks in the browser against what Python drew. `pytest tests/test_widgets_mask.py` writes the goldens and runs this.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { alphaTable, cutOut, findOutline, levelOf, scoreMask } from "../../widgets/static/mask.js";

const goldens = JSON.parse(readFileSync(process.env.GOLDENS, "utf8"));
const planeOf = ({ codes, ...rest }) => ({ ...rest, codes: Uint16Array.from(codes) });
const packedOf = (values) =>
  Uint32Array.from(
    { length: values.length / 3 },
    (_, i) => (255 << 24) | (values[3 * i + 2] << 16) | (values[3 * i + 1] << 8) | values[3 * i],
  );
const rgb = (pixels) => Array.from(new Uint8Array(pixels.buffer)).filter((_, i) => i % 4 < 3);

test("cut-outs have the same pixels", () => {
  for (const golden of goldens) {
    const plane = planeOf(golden.plane);
    const soft = alphaTable(plane, golden.kind);
    const hard = alphaTable(plane, golden.kind, 0.35);
    assert.deepEqual(Array.from(soft), golden.soft);
    assert.deepEqual(Array.from(hard), golden.hard);
    const [width, height] = [83, 41];
    const cut = (alpha, ground) =>
      rgb(cutOut(plane, alpha, packedOf(golden.photo), width, height, ground, new Uint32Array(width * height)));
    assert.deepEqual(cut(soft, "checker"), golden.onChecker);
    assert.deepEqual(cut(hard, "#0a64c8"), golden.onColour);
  }
});

test("outlines have the same lines", () => {
  // Each line from its smaller end, in order: where one starts is nobody's choice.
  const sorted = (segments) =>
    segments
      .map(([a, b, c, d]) => (a < c || (a === c && b <= d) ? [a, b, c, d] : [c, d, a, b]))
      .map((ends) => ends.map((x) => Number(x.toFixed(9))))
      .sort((one, two) => one.find((x, i) => x !== two[i]) - two.find((x, i) => x !== one[i]) || 0);
  for (const golden of goldens) {
    const found = findOutline(planeOf(golden.plane), levelOf(golden.kind, 0.35));
    const lines = Array.from({ length: found.length / 4 }, (_, i) => found.slice(4 * i, 4 * i + 4));
    const [mine, theirs] = [sorted(lines), sorted(golden.segments)];
    assert.equal(mine.length, theirs.length);
    mine.forEach((line, i) => line.forEach((x, j) => assert.ok(Math.abs(x - theirs[i][j]) < 1e-7)));
  }
});

test("scores are the same", () => {
  for (const golden of goldens) {
    const scores = scoreMask(planeOf(golden.plane), levelOf(golden.kind, 0.35), planeOf(golden.truth), 0.5);
    for (const [name, value] of Object.entries(golden.scores)) assert.ok(Math.abs(scores[name] - value) < 1e-12);
  }
});
