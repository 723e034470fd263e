// How the site's search orders its results: guides before notebooks and references that hold the same words.
var Scorer = {
  score: ([page, , , , score]) => score + (page.startsWith("docs/guides/") ? 5 : 0),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
