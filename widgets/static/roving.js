// One stop for the Tab key in a group of many controls; the arrow keys, Home and End move among them.

// `rows` gives the controls as rows of a grid, of which each may be shorter than the others; `current` the one that Tab
// comes to.
export function roveOver(root, rows) {
  root.addEventListener("keydown", (event) => {
    const all = rows().filter((row) => row.length);
    const y = all.findIndex((row) => row.includes(document.activeElement));
    if (y < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const x = all[y].indexOf(document.activeElement);
    const inRow = (row) => all[row]?.[Math.min(x, all[row].length - 1)];
    const next = {
      ArrowRight: () => all[y][x + 1] ?? all[y + 1]?.[0],
      ArrowLeft: () => all[y][x - 1] ?? all[y - 1]?.at(-1),
      ArrowDown: () => inRow(y + 1),
      ArrowUp: () => inRow(y - 1),
      Home: () => all[0][0],
      End: () => all.at(-1).at(-1),
    }[event.key];
    if (!next) return;
    event.preventDefault();
    event.stopPropagation();
    next()?.focus();
  });
  root.addEventListener("focusin", (event) => {
    const all = rows().flat();
    if (all.includes(event.target)) setStop(all, event.target);
  });
}

// Makes one of the controls the stop of the Tab key: the one in focus, the one given, or the first.
export function setStop(all, chosen) {
  const stop = all.find((one) => one === document.activeElement) ?? (all.includes(chosen) ? chosen : all[0]);
  for (const one of all) {
    const index = one === stop ? "0" : "-1";
    if (one.getAttribute("tabindex") !== index) one.setAttribute("tabindex", index);
  }
}
