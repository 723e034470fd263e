// The lists behind the buttons Words and Keys.
import { h } from "./dom.js";
import { KEYS } from "./pointer_and_keys.js";
import { WORDS } from "./words.js";

// A button that opens a list of terms; Esc closes it, and so does opening another.
function panelOf(title, list) {
  const details = h(
    "details",
    {
      class: "bv-keys",
      on: {
        keydown: (event) => {
          if (event.key !== "Escape") return;
          details.open = false;
          details.firstElementChild.focus();
        },
        toggle: () => {
          if (!details.open) return;
          for (const other of details.parentElement.querySelectorAll(".bv-keys[open]")) other.open = other === details;
        },
      },
    },
    h("summary", { class: "bv-button" }, title),
    h(
      "dl",
      { tabindex: "0", "aria-label": title },
      list.map(([term, text]) => [h("dt", {}, term), h("dd", {}, text)]),
    ),
  );
  return details;
}

// The lists of a view, the words from A to Z; without a kernel, no keys for what needs one.
export function helpPanels(store) {
  // The channels of a film are its steps.
  const say = (text) => (store.scene.linked ? text.replaceAll("channel", "step") : text);
  const known = KEYS.filter(([, , needs]) => !needs || !store.resting).map(([key, text]) => [key, say(text)]);
  const words = [...WORDS].sort((a, b) => a[0].localeCompare(b[0]));
  return [panelOf("Words", words), panelOf("Keys", known)];
}
