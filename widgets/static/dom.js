// Small helpers on the page. Text always goes in as text: nothing here reads data as HTML.

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "on")
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name === "style") for (const [key, to] of Object.entries(value)) element.style.setProperty(key, to);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

// Sets a text where it differs. Setting the same text again would make the browser lay out the page anew.
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Where a word may break: between the consonants of at-ten-tion, Novem-ber and recon-struction, and after the vowel of
// refe-rence, with at least two letters before it and three after it.
const [VOWEL, CONSONANT] = ["[aeiouy]", "[bcdfghjklmnpqrstvwxz]"];
const ONSET = `(?:str|s[cpt]|[bcdfgpt]r|[bcfgp]l|${CONSONANT})`;
const BETWEEN = `(?<=${VOWEL}${CONSONANT})(?<![cgpstw](?=h))(?=${ONSET}${VOWEL}[a-z])`;
const AFTER = `(?<=[a-z]{2}${VOWEL})(?=${CONSONANT}${VOWEL}[a-z]{2})`;
const BREAK = new RegExp(`${BETWEEN}|${AFTER}`, "gi");
const breakWord = (word) => {
  const broken = word.replace(BREAK, "\u00ad");
  // A word that has no such place, squee-ze, breaks after its two vowels.
  return broken.includes("\u00ad") ? broken : word.replace(/(?<=[a-z]{2}[aeiouy]{2})(?=[a-z]{2})/i, "\u00ad");
};

// Text whose long words may break, with a hyphen that shows only then. Each is a box of its own, so that it moves to the
// next line as a whole where it fits there. A size such as 3 × 3 stays in one line.
export const hyphenate = (text) =>
  text
    .split(/([A-Za-z]{7,}(?:'s)?)/)
    .map((part, i) => (i % 2 ? h("span", { class: "bv-word" }, breakWord(part)) : bind(part)));

// A size of two numbers stays in one line; one of more breaks after a sign, and its last two stay together.
export const bind = (text) =>
  String(text)
    .replace(/(\d) ×/g, "$1\u00a0×")
    .replace(/× (\d+)(?!\d|\u00a0×)/g, "×\u00a0$1");

// A short name stays in one line; a long one of parts with dots breaks at them.
export const breakable = (text) =>
  text.length <= 12
    ? [text.replaceAll(" ", "\u00a0")]
    : bind(text)
        .split(/(?<=[._])/)
        .flatMap((part, i) => (i ? [h("wbr"), part] : [part]));

const SVG = "http://www.w3.org/2000/svg";
export function svg(tag, attributes = {}) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

// A page's own background says more than any of its class names: light or dark, whoever hosts the view.
export function themeOf(element) {
  for (let node = element.parentElement; node; node = node.parentElement) {
    const parts = getComputedStyle(node)
      .backgroundColor.match(/[\d.]+/g)
      ?.map(Number);
    if (!parts || (parts.length === 4 && parts[3] < 0.5)) continue;
    const [r, g, b] = parts;
    return 0.299 * r + 0.587 * g + 0.114 * b < 128 ? "dark" : "light";
  }
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

export function watchTheme(root) {
  const apply = () => {
    root.dataset.theme = root.isConnected ? themeOf(root) : (root.dataset.theme ?? "light");
  };
  const observer = new MutationObserver(() => requestAnimationFrame(apply));
  for (const node of [document.documentElement, document.body]) observer.observe(node, { attributes: true });
  const media = matchMedia("(prefers-color-scheme: dark)");
  media.addEventListener("change", apply);
  requestAnimationFrame(apply);
  return () => {
    observer.disconnect();
    media.removeEventListener("change", apply);
  };
}

export function download(name, blob) {
  const url = URL.createObjectURL(blob);
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export function toBase64(bytes) {
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}
