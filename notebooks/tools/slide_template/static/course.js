// Formulas, the deck, and slides that are too tall made to fit. No module, no request.
(() => {
  const FORMULA = /\$\$([^]+?)\$\$|\$([^$]+?)\$/g;

  // The formulas in one text, as MathML beside plain words.
  function typeset(node) {
    const pieces = document.createDocumentFragment();
    let last = 0;
    for (const match of node.data.matchAll(FORMULA)) {
      pieces.append(node.data.slice(last, match.index));
      const place = document.createElement("span");
      temml.render(match[1] ?? match[2], place, { displayMode: match[1] !== undefined });
      pieces.append(place);
      last = match.index + match[0].length;
    }
    pieces.append(node.data.slice(last));
    node.replaceWith(pieces);
  }

  function formulas(root) {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) {
      const node = walker.currentNode;
      if (node.data.includes("$") && !node.parentElement.closest("pre, code, script, style")) found.push(node);
    }
    found.forEach(typeset);
  }

  // A slide that is too tall is drawn smaller, down to half, or less far for a projector; what is taller still scrolls.
  function fit(section) {
    if (!section) return;
    const page = document.documentElement;
    const mode = page.hasAttribute("data-projector") ? "projector" : "screen";
    if (section.dataset.fitted === mode) return;
    section.dataset.fitted = mode;
    let inner = section.querySelector(":scope > .fitted");
    if (inner) inner.style.zoom = 1;
    section.classList.remove("tall");
    const room = Reveal.getConfig().height;
    const scale = Math.max(mode === "projector" ? 0.7 : 0.5, Math.min(1, room / section.scrollHeight));
    if (scale === 1) return;
    if (!inner) {
      inner = document.createElement("div");
      inner.className = "fitted";
      inner.append(...section.childNodes);
      section.append(inner);
    }
    inner.style.zoom = scale;
    section.classList.toggle("tall", section.scrollHeight > room + 2);
  }

  function project() {
    document.documentElement.toggleAttribute("data-projector");
    fit(Reveal.getCurrentSlide());
  }

  formulas(document.querySelector(".slides"));
  Reveal.on("ready", (event) => fit(event.currentSlide));
  Reveal.on("slidechanged", (event) => fit(event.currentSlide));
  Reveal.initialize({
    width: 1280,
    height: 800,
    margin: 0.05,
    hash: true,
    center: false,
    slideNumber: "c/t",
    transition: "none",
    plugins: [RevealNotes],
    keyboard: { 80: project },
  }).then(() => document.documentElement.setAttribute("data-ready", "yes"));
})();
