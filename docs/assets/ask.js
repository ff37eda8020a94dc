// Ask your own log: files are read here, go to Python in the page's worker, which reaches no network, and come back as a report.
import { gone, problem, refusal, shell } from "./fields.js";
import { content, copied, make, outage, python } from "./live.js";

const BEFORE = "The report below is of what the fields said before: press Ask again.";
const LARGEST = 64 * 2 ** 20; // bytes of all files; what the browser's Python holds in memory many times over
const kept = (text, type, download, textContent) => make("p", {}, make("a", { href: URL.createObjectURL(new Blob([text], { type })), download, textContent }));

export function open(form) {
  const place = document.querySelector(".live");
  form.hidden = !place; // the site offers no Python for the browser
  if (!place) return;
  const settings = { ...JSON.parse(place.dataset.live), packages: ["numpy"] };
  const [asks, stops] = form.querySelectorAll(".live-tools button");
  const status = form.querySelector(".live-status");
  const answer = form.querySelector(".ask-answer");
  const files = form.elements.files;
  const drop = form.querySelector(".ask-drop");
  let working = false;
  let again = false; // other files were chosen, or Ask was pressed, meanwhile
  let asking = ""; // what the form said when it was read
  let of = ""; // and what it said for the report that is shown
  const inputs = [...form.querySelectorAll("input")];
  const typed = inputs.filter((one) => one.type === "text");
  const units = JSON.parse(form.dataset.units);
  const fields = () => Object.fromEntries(typed.map((one) => [one.name, one.value.trim()]));
  const says = () => JSON.stringify([fields(), ...[files, form.elements.against].map((one) => [...one.files].map(({ name, size, lastModified }) => [name, size, lastModified]))]);
  const outages = outage(status);
  const busy = (now, told) => {
    working = now;
    outages.clear();
    asks.setAttribute("aria-disabled", String(working));
    stops.disabled = !working;
    status.textContent = told;
    if (again && !working) {
      again = false;
      ask();
    }
  };
  const refuse = (name, told) => {
    const field = inputs.find((one) => one.name === name);
    if (field) problem(field, told);
    busy(false, field ? "No report: one field has a problem." : `No report: ${told}`);
    if (working) return; // on what came meanwhile
    if (field) gone(field);
    else asks.focus();
  };
  const stale = () => { // or no more
    const old = !answer.hidden && of !== says();
    answer.classList.toggle("stale", old);
    return old;
  };
  const heard = {
    status: (told) => { status.textContent = told; },
    line: (told) => { console.warn(told); },
    answer: (text) => {
      const told = JSON.parse(text);
      if (told.problem) return refuse(told.field, told.problem);
      const parsed = new DOMParser().parseFromString(told.body, "text/html"); // runs nothing
      answer.replaceChildren(
        ...[...parsed.body.childNodes].map((node) => document.adoptNode(node)),
        kept(told.html, "text/html", "report.html", "Keep it as one file"));
      for (const block of answer.querySelectorAll("article details pre")) { // files to use
        const name = block.previousElementSibling.textContent;
        const file = make("div", { className: "planner-copy" }, kept(block.textContent, "text/plain", name, `Keep ${name}`));
        block.replaceWith(file);
        file.append(block);
        copied(file).querySelector("button").ariaLabel = `Copy ${name}`;
      }
      answer.hidden = false;
      of = asking;
      busy(false, stale() ? BEFORE : "The report is below.");
      const wanted = location.hash.length > 1 && answer.querySelector(`#found-${CSS.escape(location.hash.slice(1))}`);
      (wanted || answer).scrollIntoView();
      answer.focus({ preventScroll: true });
    },
    broken: (told) => {
      busy(false, "");
      outages.show(told, asks, command());
    },
  };
  const command = () => {
    const named = ({ files }) => [...files].map(({ name }) => name);
    const before = named(form.elements.against);
    const options = typed.filter(({ value, defaultValue }) => value !== defaultValue).flatMap(({ name, value }) => [`--${name.replaceAll("_", "-")}`, value]);
    return shell(["serving-mathematics", "report", ...named(files), ...options, ...before.flatMap((name) => ["--against", name])]);
  };
  const engine = python(settings, heard);
  const contents = async (list) => {
    const found = [];
    for (const file of list) {
      const told = await content(file).catch((unread) => { throw new Error(`${file.name}: ${unread.message}`); });
      found.push({ name: file.name, ...told });
    }
    return found;
  };
  const ask = async () => {
    if (working) {
      again = true;
      status.textContent = "What the form says now comes next.";
      return;
    }
    for (const one of inputs) problem(one, "");
    const wrong = typed.map((one) => [one.name, refusal(one, units)]).filter(([, told]) => told);
    if (!files.files.length) wrong.unshift(["files", "files must be at least one file, got none: choose a load test, a log or a scrape"]);
    for (const [name, told] of wrong) problem(form.elements[name], told);
    if (wrong.length) return refuse(...wrong[0]);
    busy(true, "Reading the files…");
    answer.classList.add("stale");
    asking = says();
    const asked = { ...fields(), site: new URL(`${settings.downloads}../`, document.baseURI).href };
    const all = [...files.files, ...form.elements.against.files];
    const size = all.reduce((sum, file) => sum + file.size, 0);
    if (size > LARGEST) return refuse("files", `files must be smaller than ${LARGEST / 2 ** 20} MiB together in a browser, got ${Math.ceil(size / 2 ** 20)} MiB; the command takes larger ones.`);
    try {
      asked.files = await contents(files.files);
      asked.against = await contents(form.elements.against.files);
    } catch (unread) {
      return refuse("files", `a file could not be read: ${unread.message}`);
    }
    if (working) engine.ask({ name: "report.report_form", call: "form_report", text: JSON.stringify(asked) });
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  form.addEventListener("input", ({ target }) => {
    outages.clear();
    if (target.getAttribute("aria-invalid") === "true") problem(target, "");
    if (!working) status.textContent = stale() ? BEFORE : "";
  });
  const chosen = () => {
    again = working;
    if (working) status.textContent = "Other files were chosen: they come next.";
    else if (files.files.length) ask();
  };
  stops.addEventListener("click", () => {
    again = false;
    engine.stop();
    busy(false, "Stopped. The next question loads Python again.");
    asks.focus();
  });
  // Anywhere on the page, which a browser would leave for the file; but for what takes files by itself.
  const itself = ({ target }) => target.type === "file";
  for (const kind of ["dragenter", "dragover"]) addEventListener(kind, (event) => {
    if (itself(event)) return;
    event.preventDefault();
    drop.classList.add("over");
  });
  for (const kind of ["dragleave", "drop"]) addEventListener(kind, () => drop.classList.remove("over"));
  addEventListener("drop", (event) => {
    if (itself(event)) return;
    event.preventDefault();
    if (!event.dataTransfer.files.length) return;
    files.files = event.dataTransfer.files;
    chosen();
  });
  files.addEventListener("change", chosen);
  if (files.files.length) chosen(); // before this ran
}
