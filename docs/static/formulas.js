// Converts the TeX of each formula on the page to MathML with Temml.

document.addEventListener("DOMContentLoaded", () => {
  for (const element of document.querySelectorAll(".formula")) {
    const tex = element.textContent;
    temml.render(tex, element, { displayMode: element.tagName === "DIV", throwOnError: false });
  }
});
