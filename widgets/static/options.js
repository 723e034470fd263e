// Options of a view: selects, and parts to switch off. The kernel answers.
import { h, write } from "./dom.js";
import { roveOver, setStop } from "./roving.js";
import { namesOff, toggle } from "./switches.js";

export class Choices {
  constructor(store) {
    this.store = store;
    const { choices = [], switches = null } = store.scene;
    this.selects = choices.map(({ name, label, options }) => {
      const select = h(
        "select",
        { name, on: { change: () => this.choose(name, select.value) } },
        options.map((value) => h("option", { value }, value)),
      );
      return { name, select, root: h("label", { class: "bv-field" }, h("span", {}, label), select) };
    });
    this.off = h("span", { class: "bv-off", dataset: { off: "" } });
    this.on = h(
      "button",
      {
        class: "bv-button",
        type: "button",
        on: { click: () => store.guard(() => store.act({ type: "ablated", ablated: [] })) },
      },
      "All on again",
    );
    // The view puts it under the picture.
    this.state = h("div", { class: "bv-off-row", hidden: true }, this.off, this.on);
    this.checks = (switches?.options ?? []).map(({ value, title }) => {
      const input = h("input", { type: "checkbox", on: { change: () => store.guard(() => toggle(store, value)) } });
      return { value, input, root: h("label", { class: "bv-check" }, input, title) };
    });
    this.fieldset = this.checks.length
      ? h(
          "fieldset",
          {},
          h("legend", {}, switches.label),
          this.checks.map((check) => check.root),
        )
      : null;
    this.root = h(
      "div",
      { class: "bv-choices", hidden: !this.selects.length && !this.checks.length },
      h(
        "div",
        { class: "bv-fields" },
        this.selects.map((one) => one.root),
      ),
      // Where the map of the network switches parts, the list is the other way to do it.
      this.fieldset && store.scene.map
        ? h("div", {}, h("div", { class: "bv-muted" }, "The parts as a list"), this.fieldset)
        : this.fieldset,
    );
    if (this.fieldset) roveOver(this.fieldset, () => this.checks.map(({ input }) => [input]));
  }

  choose(name, value) {
    const { model } = this.store;
    this.store.guard(() => {
      this.store.expectAnswer();
      model.set("controls", { ...model.get("controls"), [name]: value });
      model.save_changes();
    });
  }

  // Without a kernel nothing can be computed again: the choices show what was chosen, and rest.
  update() {
    const { live, look, model } = this.store;
    const chosen = model.get("controls") ?? {};
    const names = namesOff(this.store);
    write(this.off, names.length ? `Switched off: ${names.join("; ")}` : "");
    this.state.hidden = !names.length;
    this.on.hidden = !live;
    for (const { name, select } of this.selects) {
      select.value = chosen[name] ?? select.value;
      select.disabled = !live;
    }
    for (const { value, input } of this.checks) {
      input.checked = look.ablated.includes(value);
      input.disabled = !live;
    }
    if (live) setStop(this.checks.map(({ input }) => input));
    // A list that scrolls can be reached by the keyboard, also where nothing in it answers.
    if (this.fieldset) this.fieldset.tabIndex = live ? -1 : 0;
  }
}
