// Run by tests/test_explorer_javascript.py, which makes the goldens with Pillow and the Python twins.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import {
  channelStatistics,
  gradientTarget,
  laplacian,
  maskedGradientTarget,
  quantise,
} from "../../widgets/explorer/static/measures.js";
import { componentColours, fitBasis, normOf, project, segmentsOf } from "../../widgets/explorer/static/summaries.js";
import { layOverWhite, resizeAligned, resizeBytes, resizeFloats } from "../../widgets/explorer/static/resize.js";

const folder = process.env.GOLDENS;
const goldens = JSON.parse(readFileSync(`${folder}/goldens.json`, "utf8"));
const bytes = (name) => new Uint8Array(readFileSync(`${folder}/${name}`));
const floats = (name) => new Float32Array(bytes(name).buffer);

function close(found, wanted, tolerance) {
  assert.equal(found.length, wanted.length);
  let [worst, largest] = [0, 1e-6];
  for (let i = 0; i < wanted.length; i++) {
    worst = Math.max(worst, Math.abs(found[i] - wanted[i]));
    largest = Math.max(largest, Math.abs(wanted[i]));
  }
  assert.ok(worst <= tolerance * largest, `${worst} of ${largest}`);
}

test("bytes are resized as by Pillow, to the last bit", () => {
  for (const { source, result, from, to } of goldens.bytes) {
    assert.deepEqual(resizeBytes(bytes(source), from[1], from[0], 3, to[1], to[0]), bytes(result), `${from} to ${to}`);
  }
});

test("masks are resized as by Pillow", () => {
  for (const { source, result, from, to } of goldens.floats) {
    close(resizeFloats(floats(source), from[1], from[0], to[1], to[0]), floats(result), 1e-6);
  }
});

test("transparency is laid over white as by Pillow", () => {
  const found = layOverWhite(bytes(goldens.white.source));
  assert.deepEqual(found, bytes(goldens.white.result));
});

test("maps are resized with aligned corners as in the network", () => {
  for (const { source, result, from, to } of goldens.aligned) {
    close(resizeAligned(floats(source), from[1], from[0], to[1], to[0]), floats(result), 1e-5);
  }
});

test("planes have the codes of widgets.planes", () => {
  for (const { source, result, lo, hi, shape } of goldens.planes) {
    const plane = quantise(floats(source), shape[1], shape[0]);
    assert.deepEqual(plane.codes, new Uint16Array(bytes(result).buffer));
    assert.deepEqual([plane.lo, plane.hi], [lo, hi]);
  }
});

test("statistics of channels are those of widgets.channel_ranking", () => {
  for (const { source, mask, result, shape } of goldens.statistics) {
    close(channelStatistics(floats(source), ...shape, mask && floats(mask)), floats(result), 1e-5);
  }
});

test("gradient targets are those of the network", () => {
  for (const { image, side, shape, sideShape, edges, original, masked } of goldens.targets) {
    const found = laplacian(floats(image), ...shape);
    close(found, floats(edges), 1e-5);
    close(gradientTarget(found, ...shape, floats(side), ...sideShape), floats(original), 1e-4);
    close(maskedGradientTarget(found, ...shape, floats(side), ...sideShape), floats(masked), 1e-4);
  }
});

test("pictures of all channels are those of the package", () => {
  for (const { source, shape, colours, segments, norm, explained } of goldens.summaries) {
    const maps = { dims: shape, data: floats(source) };
    const basis = fitBasis([maps], 6);
    const projected = project(maps, basis);
    close(basis.explained, floats(explained), 1e-6);
    close(componentColours(projected, basis), bytes(colours), 1 / 255);
    assert.deepEqual(Uint8Array.from(segmentsOf(projected, 3)), bytes(segments));
    close(normOf(maps).data, floats(norm), 1e-6);
  }
});
