// The theme's search, told how to read: a word is found by its parts and other forms, a question is asked without its
// small words and with other names beside its own, and a page on which more of it stands comes first.
let table = { stop: [], same: [] }; // builder/search.yml, which comes with the index
let asked = []; // the words of the question, each with the forms that are looked for
const forms = new Map(); // of every word of the site

const whole = (word) => word.replace(/[-_]/g, "");
const parts = (word) => word.split(/[-_/.]/).filter((part) => part.length > 1);
const stem = (word) => stemmed(new lunr.Token(word.replace("isation", "ization"))).toString();

addEventListener("message", ({ data: message }) => { // before the theme, which takes what is left in it
  if (message.type === 0) table = message.data.config.table ?? table;
  if (message.type === 2) message.data = question(message.data);
});
const send = postMessage.bind(self);
self.postMessage = (message) => {
  if (message.type === 3 && asked.length) answer(message.data);
  send(message);
};
importScripts(`../assets/javascripts/workers/${location.search.slice(1).split("/").pop()}`);

const stemmed = lunr.stemmer;
lunr.stemmer = (token) => {
  if (!("position" in token.metadata)) return token; // of a question, whose words are stems already
  const word = token.toString();
  if (!forms.has(word)) forms.set(word, [...new Set([word, whole(word), ...parts(word)].flatMap((one) => [one, stem(one)]))]);
  return forms.get(word).map((form) => new lunr.Token(form, token.metadata));
};
lunr.Pipeline.registerFunction(lunr.stemmer, "forms");

const { search } = lunr.Index.prototype;
lunr.Index.prototype.search = function (asked) { // the theme marks a place as often as it is named, and tears the word
  const found = search.call(this, asked);
  for (const { matchData } of found) {
    const named = new Set();
    for (const fields of Object.values(matchData.metadata))
      for (const [field, told] of Object.entries(fields))
        told.position = told.position.filter((place) => !named.has(`${field} ${place}`) && named.add(`${field} ${place}`));
  }
  return found;
};

function question(typed) {
  asked = [];
  if (/["^~*]|(^|\s)[-+]\w/.test(typed)) return typed; // who writes the signs of a search means them
  const text = typed.toLowerCase().replace(/['’]s\b/g, "").replace(/[^\p{L}\p{N}\-_/.]+|\.(?!\d)/gu, " ");
  const all = text.split(/\s/).map((word) => word.replace(/^[-_/]+|[-_/]+$/g, "")).filter(Boolean);
  let words = all.filter((word) => !table.stop.includes(word));
  if (!words.length) words = all;
  const clauses = [];
  const look = (word, boost) => {
    const found = [...new Set([whole(word), ...parts(word)].map(stem))];
    clauses.push(...found.map((form) => `${form}^${boost}`));
    return found;
  };
  asked = words.map((word) => [word, look(word, 10)]);
  for (const [name, ...others] of table.same)
    if ([words, all].some((said) => ` ${said.join(" ")} `.includes(` ${name} `))) for (const other of others.join(" ").split(" ")) look(other, 4);
  const last = words.at(-1) ?? "";
  if (last.length > 1 && /\S$/.test(typed)) { // a word that may not be whole yet
    const begun = [...last].findIndex((letter, place) => letter !== stem(last)[place]);
    const prefix = begun < 0 ? last : last.slice(0, begun);
    clauses.push(prefix); // the theme looks for what begins with a word that has no weight
    asked.at(-1)[1].push(prefix);
  }
  return clauses.join(" ");
}

function answer(result) {
  for (const page of result.items) {
    for (const section of page)
      section.terms = Object.fromEntries(asked.map(([word, found]) => [word, found.some((form) => section.terms[form])]));
    const share = asked.filter(([word]) => page.some(({ terms }) => terms[word])).length / asked.length;
    for (const section of page) section.score *= share ** 2;
    if (page[1]) page[1].score = page[0].score; // both are shown: a page, and the place in it
  }
  const best = (page) => Math.max(...page.map(({ score }) => score));
  result.items.sort((one, other) => best(other) - best(one));
  result.suggest = result.suggest?.filter((word) => forms.has(word));
}
