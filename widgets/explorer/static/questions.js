// Ten questions to play with, each with a way to where its answer can be seen.
import { h } from "../../static/dom.js";
import { choosePart, chooseView } from "./panels.js";
import { app, at, data } from "./state.js";

export function listQuestions() {
  at("questions").append(
    ...data.questions.map(({ ask, answer, show }) =>
      h(
        "li",
        {},
        h("p", {}, ask),
        h(
          "div",
          { class: "question-row" },
          h("button", { class: "button small", type: "button", on: { click: () => goTo(show) } }, "Take me there"),
          h("details", {}, h("summary", {}, "Answer"), h("p", {}, answer)),
        ),
      ),
    ),
  );
}

function goTo({ part, view, off, play }) {
  if (off) app.switchParts(off);
  if (part) choosePart(part);
  if (view) chooseView(view);
  if (play && !app.map.playing) at("play").click();
  const place = view ? "views" : play ? "map-card" : "part";
  at(place).scrollIntoView({ behavior: app.stillness ? "auto" : "smooth", block: "start" });
}
