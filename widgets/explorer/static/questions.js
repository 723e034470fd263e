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

// Parts that an earlier question switched off come back. `run`: the recorded run does not hold what is asked for.
function goTo({ part, view, off = [], play, run }) {
  if (off.length || app.map.off.length) app.switchParts(off);
  else if (run && !app.live) app.ask({});
  if (part) choosePart(part);
  if (view) chooseView(view);
  if (play && !app.map.playing) at("play").click();
  const place = view ? "views" : play ? "map-card" : "part";
  at(place).scrollIntoView({ behavior: app.stillness ? "auto" : "smooth", block: "start" });
}
