// What a view lets one choose beyond the picture: selects, and parts to switch off. The kernel answers.
import { h } from "./dom.js";

export class Choices {
  constructor(store) {
    this.store = store;
    const { choices = [], switches = null } = store.scene;
    this.selects = choices.map(({ name, label, options }) => {
      const select = h(
        "select",
        { "aria-label": label, on: { change: () => this.choose(name, select.value) } },
        options.map((value) => h("option", { value }, value)),
      );
      return { name, select, root: h("label", { class: "bv-field" }, h("span", {}, label), select) };
    });
    this.titles = new Map((switches?.options ?? []).map(({ value, title }) => [value, title]));
    this.off = h("div", { class: "bv-off", dataset: { off: "" }, hidden: true });
    this.checks = (switches?.options ?? []).map(({ value, title }) => {
      const input = h("input", { type: "checkbox", on: { change: () => this.toggle(value, input.checked) } });
      return { value, input, root: h("label", { class: "bv-check" }, input, title) };
    });
    const fieldset = this.checks.length
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
      this.off,
      fieldset,
    );
  }

  choose(name, value) {
    const { model } = this.store;
    this.store.guard(() => {
      this.store.expectAnswer();
      model.set("controls", { ...model.get("controls"), [name]: value });
      model.save_changes();
    });
  }

  toggle(value, on) {
    const rest = this.store.look.ablated.filter((other) => other !== value);
    this.store.guard(() => this.store.act({ type: "ablated", ablated: on ? [...rest, value] : rest }));
  }

  // Without a kernel nothing can be computed again: the choices show what was chosen, and rest.
  update() {
    const { live, look, model } = this.store;
    const chosen = model.get("controls") ?? {};
    const names = look.ablated.map((entry) => {
      const [layer, channel] = entry.split("#");
      return (this.titles.get(layer) ?? layer) + (channel === undefined ? "" : `, channel ${channel}`);
    });
    this.off.textContent = names.length ? `Switched off: ${names.join("; ")}` : "";
    this.off.hidden = !names.length;
    for (const { name, select } of this.selects) {
      select.value = chosen[name] ?? select.value;
      select.disabled = !live;
    }
    for (const { value, input } of this.checks) {
      input.checked = look.ablated.includes(value);
      input.disabled = !live;
    }
  }
}
