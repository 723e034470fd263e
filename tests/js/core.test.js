// The browser's arithmetic against what Python computed. `pytest tests/test_widgets_javascript.py` writes the goldens and runs this.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as core from "../../widgets/static/core.js";
import { transition } from "../../widgets/static/look.js";

const unspelled = { $NaN: NaN, $Infinity: Infinity, "$-Infinity": -Infinity };
const unspell = (_, value) => (typeof value === "string" && value in unspelled ? unspelled[value] : value);
const goldens = JSON.parse(readFileSync(process.env.GOLDENS, "utf8"), unspell);
const planeOf = ({ codes, ...rest }) => ({ ...rest, codes: Uint16Array.from(codes) });
const packedOf = (values) =>
  Uint32Array.from(
    { length: values.length / 3 },
    (_, i) => (255 << 24) | (values[3 * i + 2] << 16) | (values[3 * i + 1] << 8) | values[3 * i],
  );
const rgb = (pixels) => Array.from(new Uint8Array(pixels.buffer)).filter((_, i) => i % 4 < 3);

test("maps are painted with the same pixels", () => {
  assert.ok(goldens.paintings.length > 20);
  for (const golden of goldens.paintings) {
    const plane = planeOf(golden.plane);
    const table = core.colourTable(plane, golden.limits, golden.colours);
    const { width, height } = golden;
    assert.deepEqual(rgb(core.paint(plane, table, new Uint32Array(plane.codes.length))), golden.painted);
    const over = core.overlay(
      plane,
      table,
      packedOf(golden.backdrop),
      width,
      height,
      golden.opacity,
      new Uint32Array(width * height),
    );
    assert.deepEqual(rgb(over), golden.overlaid);
  }
});

test("colour maps are the same", () => {
  for (const [name, colours] of goldens.colours) assert.deepEqual(Array.from(core.colourMap(name)), colours);
});

test("pictures in colour and similarity are the same", () => {
  assert.deepEqual(Array.from(core.pictureTable()), goldens.pictureTable);
  const { planes, at, cosines } = goldens.similarity;
  const found = core.similarity(planes.map(planeOf), at);
  cosines.forEach((value, i) => assert.ok(Math.abs(core.codeValue(found, found.codes[i]) - value) < 1e-3));
});

test("codes stand for the same values", () => {
  for (const { plane, values } of goldens.paintings) {
    assert.deepEqual(
      plane.codes.map((code) => core.codeValue(plane, code)),
      values,
    );
  }
});

test("numbers read the same", () => {
  for (const [value, quantum, long, short] of goldens.numbers) {
    assert.equal(core.formatValue(value, quantum), long);
    assert.equal(core.shortValue(value, quantum), short);
  }
});

test("cells, ranks and limits", () => {
  for (const [length, count, expected] of goldens.cells)
    assert.deepEqual(Array.from(core.cells(length, count)), expected);
  for (const [values, expected] of goldens.ranks) assert.deepEqual(core.rank(values), expected);
  for (const [kind, lo, hi, expected] of goldens.limits) assert.deepEqual(core.limitsOf(kind, lo, hi), expected);
});

test("a walk of steps leads to the same look", () => {
  const walk = JSON.parse(readFileSync(new URL("./walk.json", import.meta.url), "utf8"), unspell);
  let look = walk.start;
  for (const { action, look: expected } of walk.steps) {
    look = transition(walk.scene, look, action);
    assert.deepEqual(look, expected, JSON.stringify(action));
  }
});

test("a packed buffer comes apart, also where a transport has moved it", () => {
  const bytes = Uint8Array.from(goldens.packed.bytes);
  for (const shift of [0, 1, 2, 3, 4]) {
    const moved = new Uint8Array(bytes.length + shift);
    moved.set(bytes, shift);
    const parts = core.unpack(goldens.packed.parts, new DataView(moved.buffer, shift));
    for (const [i, part] of parts.entries()) {
      if (part.kind === "plane") assert.deepEqual(Array.from(part.codes), goldens.packed.planes[i]);
    }
  }
  assert.throws(() => core.unpack(goldens.packed.parts, new DataView(bytes.buffer, 0, 8)), /cut short/);
});

test("marks are counted", () => {
  const plane = {
    lo: 0,
    hi: 10,
    codes: Uint16Array.from([0, core.LEVELS, 32765, core.NOT_A_NUMBER, core.PLUS_INFINITY, core.MINUS_INFINITY]),
  };
  assert.deepEqual(core.countMarks(plane, [1, 9]), { below: 1, above: 1, NaN: 1, "+∞": 1, "-∞": 1 });
  assert.deepEqual(core.countMarks({ lo: 0, hi: 1, codes: Uint16Array.from([0, 5]) }, [0, 1]), {});
});

test("a thumbnail takes the nearest cells", () => {
  const plane = { codes: Uint16Array.from([0, 1, 2, 3]), width: 2, height: 2 };
  const table = Uint32Array.from({ length: 4 }, (_, i) => i * 10);
  assert.deepEqual(Array.from(core.thumbnail(plane, table, 4, 2, new Uint32Array(8))), [0, 0, 10, 10, 20, 20, 30, 30]);
});

test("the cache stays within its bound and keeps what is on show", () => {
  const cache = new core.PlaneCache(100);
  const plane = (channel) => ({ layer: "a", channel, codes: new Uint16Array(20) });
  for (let i = 0; i < 5; i++) cache.put(plane(i), (_, channel) => channel === 0);
  assert.ok(cache.bytes <= 100);
  assert.ok(cache.has("a", 0) && cache.has("a", 4) && !cache.has("a", 1));
  cache.put(plane(4));
  assert.equal(cache.bytes, 80);
  cache.drop("a");
  assert.equal(cache.bytes, 0);
});
