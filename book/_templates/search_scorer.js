/* How the search ranks: words of book/search.json and terms of the glossary first (100), then titles (15) and text (5).
   Of equals a chapter comes before other pages, and the API and solutions last: they name things, chapters explain them. */
var Scorer = {
  score: ([page, , , , score]) => {
    if (page === "book/api") return score - 40;
    if (page.includes("/solutions/")) return score - 10;
    return score + (page.startsWith("notebooks/") ? 4 : page.startsWith("exercises/") ? -2 : 0);
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
