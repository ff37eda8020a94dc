// The home page's question: its blanks choose a row of the table that came with the page, and the planner takes them along.
// What it says stands in planner/first_answers.py too, for whoever reads without scripts.
const money = (dollars) => `$${dollars.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`;

function said(row, values, errors) {
  if (!row) return ["No fleet of this GPU keeps that promise.", "The planner says what stands in the way."];
  const [replicas, devices, precision, load, ttft, tpot, slower, error] = row;
  const price = Number(values.price_per_hour);
  const hour = replicas * devices * price;
  const million = hour / (values.rate_per_s * values.mean_output_tokens * 0.0036);
  const fleet = replicas === 1 ? "one replica" : `${replicas} replicas`;
  const each = devices === 1 ? "one GPU" : `${devices} GPUs`;
  const [runs, low, high] = errors[error];
  const then = !slower ? "no fleet keeps the promise" : slower === replicas ? "the answer stays the same" : `it takes ${slower} replicas`;
  return [
    `You need <b>${fleet} of ${each}</b> in ${precision.toUpperCase()}, <b>${money(hour)} an hour</b>, $${million.toFixed(2)} a million tokens written. 99% get their first token within ${(ttft / 1000).toFixed(2)} s and then, on average, one every ${tpot.toFixed(0)} ms, at ${load}% of what the fleet can carry.`,
    `Of ${runs.toLocaleString("en")} measured runs like this, all of tuned engines, eight of ten took ${low.toFixed(2)} to ${high.toFixed(2)} times the predicted time per token; with ${high.toFixed(2)}, ${then}. An engine as installed takes longer for a token. A GPU hour is assumed to cost ${money(price)}.`,
  ];
}

const same = (one, other) => one === other || (one?.trim() && Number(one) === Number(other));

// The place of each blank's choice that an address or a form asks for; -1 where it asks for another, undefined where for nothing.
const places = (asks, given) => asks.map((choices) => {
  const names = Object.keys(choices[0]);
  if (!names.some((name) => name in given)) return undefined;
  return choices.findIndex((choice) => names.every((name) => same(given[name], choice[name])));
});
const namesOf = (asks) => new Set(asks.flatMap(([choice]) => Object.keys(choice)));
const rowOf = ({ asks, rows }, chosen) => rows[chosen.reduce((sum, place, number) => sum * asks[number].length + place, 0)];

// What the table says to a question of the planner: to the values that its form has, and those that it has when nothing is asked.
export function known(table, given, usual) {
  const names = namesOf(table.asks);
  if (Object.keys(given).some((name) => !names.has(name) && given[name] !== usual[name])) return null;
  const chosen = places(table.asks, given);
  if (chosen.some((place) => !(place >= 0))) return null;
  const values = Object.assign({}, ...chosen.map((place, number) => table.asks[number][place]));
  return said(rowOf(table, chosen), values, table.errors);
}
export const tableOf = (page) => JSON.parse(page.querySelector(".home-question script").textContent);

// A button that copies a text, and says whether the browser let it.
export const copy = (button, text) => button.addEventListener("click", async () => {
  const { textContent, ariaLabel } = button;
  const told = await Promise.resolve(text()).then((copied) => navigator.clipboard.writeText(copied)).then(() => "Copied", () => "Not copied");
  Object.assign(button, { textContent: told, ariaLabel: null });
  setTimeout(() => Object.assign(button, { textContent, ariaLabel }), 2000);
});

export function open(form) {
  const table = tableOf(document);
  const { asks, errors } = table;
  const blanks = [...form.querySelectorAll("select")];
  const [told, sure] = form.querySelectorAll("output > *");
  const go = form.querySelector(".go");
  const planner = go.href;
  const say = () => {
    const chosen = blanks.map((blank) => blank.selectedIndex);
    const values = Object.assign({}, ...chosen.map((place, number) => asks[number][place]));
    [told.innerHTML, sure.textContent] = said(rowOf(table, chosen), values, errors);
    const query = `?${new URLSearchParams(values)}`;
    go.href = planner + query;
    return query;
  };
  // The address holds the question, as the planner's does; but for what was chosen before this ran.
  const chosen = blanks.map((blank) => !blank.selectedOptions[0].defaultSelected);
  const recall = () => {
    const given = Object.fromEntries(new URLSearchParams(location.search));
    const names = namesOf(asks);
    const unknown = Object.keys(given).filter((name) => !names.has(name));
    for (const [number, place] of places(asks, given).entries()) {
      if (chosen[number]) continue;
      if (place >= 0) blanks[number].selectedIndex = place;
      else if (place === -1) unknown.push(...Object.keys(asks[number][0]).filter((name) => name in given));
    }
    say();
    if (!unknown.length) return;
    const first = unknown[0].slice(0, 40);
    sure.textContent = `This address asks for ${first} = “${given[unknown[0]].slice(0, 40)}”, which this sentence cannot answer; the answer above is to the sentence as it reads. The planner computes others.`;
  };
  copy(form.querySelector("button"), () => new URL(say(), location.href).href);
  for (const blank of blanks) blank.addEventListener("change", () => history.replaceState(history.state, "", say()));
  recall();
  if (chosen.includes(true)) history.replaceState(history.state, "", say());
}
