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
  const then = !slower ? "no fleet keeps the promise" : slower === replicas ? "the answer stays" : `it takes ${slower} replicas`;
  return [
    `You need <b>${fleet} of ${each}</b> in ${precision.toUpperCase()}, <b>${money(hour)} an hour</b>, $${million.toFixed(2)} a million tokens written. 99% have their first token within ${(ttft / 1000).toFixed(2)} s and then one every ${tpot.toFixed(0)} ms, at ${load}% of what the fleet can carry.`,
    `Of ${runs.toLocaleString("en")} measured runs like this, all of tuned engines, eight of ten took ${low.toFixed(2)} to ${high.toFixed(2)} times the predicted time a token; with ${high.toFixed(2)}, ${then}. An engine as installed is slower. A GPU hour is put at ${money(price)}.`,
  ];
}

export function open(form) {
  const { asks, errors, rows } = JSON.parse(form.querySelector("script").textContent);
  const blanks = [...form.querySelectorAll("select")];
  const [told, sure] = form.querySelectorAll("output > *");
  const go = form.querySelector(".go");
  const planner = go.href;
  const say = () => {
    const values = Object.assign({}, ...blanks.map((blank, number) => asks[number][blank.selectedIndex]));
    const place = blanks.reduce((sum, blank, number) => sum * asks[number].length + blank.selectedIndex, 0);
    [told.innerHTML, sure.textContent] = said(rows[place], values, errors);
    go.href = `${planner}?${new URLSearchParams(values)}`;
  };
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const blank of blanks) blank.addEventListener("change", say);
  say();
}
