// The signs of what is computed between the parts of the network: how they are drawn, what they say, and their legend.
import { h, svg } from "./dom.js";

// A mark on a disc, in words, and how it is written in a formula.
const SIGNS = {
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

export const SIGN_RADIUS = 7;

// ---- operations ----
// A part has a sign for each of its operations; their inputs are names of parts, or numbers of signs before.

export const isUnary = ({ name }) => name === "enlarge" || name === "shrink";
export const isLast = ({ operations }, i) => i === operations.length - 1;

// The part that the operations of another one name first.
export const firstSource = ({ operations }) =>
  operations.flatMap(({ inputs }) => inputs).find((input) => typeof input === "string");

// The parts that have met in the i-th sign of a part.
export function listSources({ operations }, i) {
  return operations[i].inputs.flatMap((input) =>
    typeof input === "number" ? listSources({ operations }, input) : [input],
  );
}

// The i-th sign of a part in words, with the formula up to it. `byName`: the parts.
export function explainSign({ operations }, i, byName) {
  const write = (at) => {
    const { name, inputs } = operations[at];
    const terms = inputs.map((input) =>
      typeof input === "number" ? write(input) : byName.get(input).label.replaceAll("\u00ad", ""),
    );
    return SIGNS[name].formula(terms);
  };
  const { text } = SIGNS[operations[i].name];
  return `${text[0].toUpperCase()}${text.slice(1)}: ${write(i)}`;
}

// ---- drawing ----

// A sign as SVG elements round the origin.
export const drawSign = (name) => [
  svg("circle", { class: "bv-sign-disc", r: SIGN_RADIUS }),
  svg("path", { class: "bv-sign-mark", d: SIGNS[name].mark }),
];

// The legend: the signs that a map has, in words.
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
