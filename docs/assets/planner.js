// The capacity planner's form: what it asks goes to Python in the page's worker, and the piece of page that comes back takes the place of the answer.
import { gone, problem, refusal, shell } from "./fields.js";
import { copy, known, tableOf } from "./home.js";
import { absolute, content, copied, make, outage, python } from "./live.js";

const LARGEST_TRACE = 64 * 2 ** 20; // bytes; what the browser's Python holds in memory many times over
const LARGEST_CONFIG = 4 * 2 ** 20; // bytes; of a larger one Python says so
const given = (field, content) => Object.fromEntries(Object.entries(content).map(([kind, held]) => [`${field}_${kind}`, held]));
const KNOWN = new Set("a circle code desc details div figcaption figure li p path pre strong summary svg table tbody td text th thead title tr ul".split(" "));

// What Python made, without anything that could run or load.
export const inert = (text) => {
  const { body } = new DOMParser().parseFromString(text, "text/html");
  for (const one of body.querySelectorAll("*")) {
    if (!KNOWN.has(one.localName)) one.remove();
    for (const { name, value } of [...one.attributes]) if (/^(on|style|src)/i.test(name) || (/href$/i.test(name) && !/^\.\.\/[\w/-]+$/.test(value))) one.removeAttribute(name);
  }
  return [...body.childNodes].map((node) => document.adoptNode(node));
};

export function open(form) {
  const place = document.querySelector(".live");
  form.hidden = !place; // the site offers no Python for the browser
  if (!place) return;
  const settings = { ...JSON.parse(place.dataset.live), packages: ["numpy"] }; // it draws nothing
  const [plans, stops, links] = form.querySelectorAll(".live-tools button");
  const status = form.querySelector(".live-status");
  const answer = document.querySelector(".planner-answer");
  const fields = [...form.querySelectorAll("[name]")];
  const units = JSON.parse(form.dataset.units);

  // Fields that another control makes needless are hidden, and not sent.
  const conditional = [...form.querySelectorAll("[data-when]")].map((line) => {
    const [name, value] = line.dataset.when.split("=");
    return [line, form.querySelector(`#planner-${name}`), value];
  });
  const show = () => {
    for (const [line, control, value] of conditional) {
      const hidden = control.value !== value;
      const folded = line.closest("details");
      if (line.hidden && !hidden && folded) folded.open = true; // what is asked for now
      line.hidden = hidden;
    }
  };
  const asks = () => {
    const asked = {};
    for (const field of fields) {
      const none = field.tagName === "SELECT" && !field.value; // its parts are given instead
      if (!none && !field.closest("[hidden]")) asked[field.name] = field.value;
    }
    return asked;
  };
  // The address holds what differs from the form as it stands.
  const [chooser] = form.querySelectorAll(".field-file input");
  let own = chooser.files[0]; // a model's config.json, which stands in its field by its name
  const typed = fields.map((field) => (field.files ? field.files : field.value)); // before this ran, or kept by a browser
  form.reset();
  const first = Object.fromEntries(fields.map((field) => [field.name, field.value]));
  const address = (asked) => {
    const changed = Object.entries(asked).filter(([name, value]) => value !== first[name] && !name.startsWith("trace"));
    return `${location.pathname}${changed.length ? `?${new URLSearchParams(changed)}` : ""}`;
  };
  const command = (asked) => shell(Object.entries(asked).reduce((words, [name, value]) => {
    const text = value.replace(/^C:\\fakepath\\/, ""); // of a chosen file
    return text && (value !== first[name] || name === "rate_per_s") ? [...words, `--${name.replaceAll("_", "-")}`, text] : words;
  }, ["serving-mathematics", "plan"]));
  const recall = () => { // what the address asks for that the form has not
    const unknown = [];
    const asked = new URLSearchParams(location.search);
    for (const [name, value] of asked) {
      const field = fields.find((one) => one.name === name && one.type !== "file");
      if (!field) unknown.push(name.slice(0, 40));
      else if (asked.getAll(name).length > 1) problem(field, `${name} stands twice in this address`);
      else {
        field.value = value;
        if (field.value === value) continue;
        field.value = first[name]; // it took another, as a list does, or none
        problem(field, `${name} cannot be “${value.slice(0, 40)}”, which this address asks for`);
        const folded = field.closest("details");
        if (folded) folded.open = true;
      }
    }
    return unknown;
  };
  let working = false;
  let answered = ""; // the question of the answer that is shown
  let whole = true; // and not only what the home page's table says of it
  const outages = outage(status);
  const busy = (now, told) => {
    working = now;
    outages.clear();
    plans.setAttribute("aria-disabled", String(working)); // and not `disabled`, which would lose the focus
    stops.disabled = !working;
    status.textContent = told;
  };
  const stale = () => {
    const old = JSON.stringify(asks()) !== answered;
    if (old !== answer.classList.contains("stale") && !working) status.textContent = old ? "The form has changed: the answer below is to the question that stands over it." : "";
    answer.classList.toggle("stale", old);
    if (!old) answer.hidden = false;
  };
  const refuse = (name, told, count = 1) => {
    const field = fields.find((one) => one.name === name);
    const shown = field && !field.closest("[hidden]");
    busy(false, shown ? `No plan: ${count === 1 ? "one field has" : `${count} fields have`} a problem.` : `No plan: ${told}.`);
    if (!shown) return plans.focus();
    problem(field, told);
    gone(field);
  };

  const scrolling = new ResizeObserver((changes) => { // a table that is always open does where letters are large
    for (const { target } of changes) {
      const wide = target.scrollWidth > target.clientWidth;
      Object.assign(target, { tabIndex: wide ? 0 : -1, role: wide ? "group" : null, ariaLabel: wide ? "Table" : null });
    }
  });
  const dress = () => { // copy buttons, and tables that scroll by keyboard
    for (const text of answer.querySelectorAll(".planner-copy")) copied(text);
    for (const rows of answer.querySelectorAll(":scope > .planner-rows")) scrolling.observe(rows);
    for (const rows of answer.querySelectorAll("details > .planner-rows")) {
      Object.assign(rows, { tabIndex: 0, role: "region", ariaLabel: rows.parentElement.querySelector("summary").textContent });
    }
  };
  const heard = {
    status: (told) => { status.textContent = told; },
    line: (told) => { console.warn(told); },
    answer: (text) => {
      const told = JSON.parse(text);
      if (told.problem) return refuse(told.field, told.problem);
      answer.replaceChildren(...inert(told.html));
      answer.hidden = false;
      dress();
      answered = asking;
      whole = true;
      shown();
    },
    broken: (told) => {
      busy(false, "");
      outages.show(told, plans, command(JSON.parse(asking)));
    },
  };
  const shown = () => {
    busy(false, "The plan is below.");
    answer.classList.remove("stale");
    answer.focus({ preventScroll: true });
    answer.scrollIntoView();
    if (JSON.stringify(asks()) !== answered) stale();
  };
  const engine = python(settings, heard);
  let asking = "";

  const take = (file) => {
    const path = `./${file.name}`;
    [answered, asking] = [answered, asking].map((text) => text + (text.includes(JSON.stringify(path)) ? " " : "")); // of what another held
    own = file;
    form.elements.model.value = path;
    form.elements.model.dispatchEvent(new Event("input", { bubbles: true }));
  };
  chooser.addEventListener("change", () => chooser.files[0] && take(chooser.files[0]));
  form.elements.model.addEventListener("paste", (event) => {
    const [file] = event.clipboardData.files;
    const text = event.clipboardData.getData("text");
    if (!file && !/^\s*\{/.test(text)) return;
    event.preventDefault();
    take(file ?? new File([text], "config.json"));
  });
  // Anywhere on the page, which a browser would leave for the file; but for what takes files by itself.
  const drops = ({ target, dataTransfer }) => target.type !== "file" && dataTransfer.types.includes("Files");
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) addEventListener(kind, (event) => {
    const over = drops(event);
    form.classList.toggle("over", over && /enter|over/.test(kind));
    if (over) event.preventDefault();
    if (!over || kind !== "drop") return;
    const { files } = event.dataTransfer;
    if (/\.json$/i.test(files[0].name)) return take(files[0]);
    form.querySelector("#planner-traffic").value = "";
    form.elements.trace.files = files;
    form.elements.trace.dispatchEvent(new Event("input", { bubbles: true }));
  });

  form.addEventListener("input", ({ target }) => {
    show();
    outages.clear();
    if (target.getAttribute("aria-invalid") === "true") { // what was wrong is being mended
      problem(target, "");
      if (!working) status.textContent = "";
    }
    stale();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (working) return;
    for (const field of fields) problem(field, "");
    const asked = asks();
    asking = JSON.stringify(asked);
    busy(true, "Reading the form…");
    const there = address(asked);
    const wrong = fields.filter(({ name }) => name in asked).map((field) => [field.name, refusal(field, units)]).filter(([, told]) => told);
    if (there !== location.pathname + location.search) history.replaceState(history.state, "", there); // a browser asks for the icon again
    for (const [name, told] of wrong) problem(form.elements[name], told);
    if (wrong.length) return refuse(...wrong[0], wrong.length);
    if (asking === answered && whole && !("trace" in asked)) return shown();
    if ("trace" in asked) {
      const file = form.elements.trace.files[0];
      if (!file) return refuse("trace", "trace must be a file, got none");
      asked.trace = file.name;
      if (file.size > LARGEST_TRACE) return refuse("trace", `trace must be smaller than ${LARGEST_TRACE / 2 ** 20} MiB in a browser, got ${Math.ceil(file.size / 2 ** 20)} MiB; the command takes larger ones`);
      try {
        Object.assign(asked, given("trace", await content(file)));
      } catch (unread) {
        return refuse("trace", `trace must be a file that can be read, got ${unread.message}`);
      }
    }
    if (own && asked.model === `./${own.name}`) {
      try {
        Object.assign(asked, given("model", await content(own.slice(0, LARGEST_CONFIG + 1))));
      } catch (unread) {
        return refuse("model", `model must be a file that can be read, got ${unread.message}`);
      }
    }
    if (working) engine.ask({ name: "planner.planner_form", call: "form_answer", text: JSON.stringify(asked) });
  });
  stops.addEventListener("click", () => {
    engine.stop();
    busy(false, "Stopped. The next plan loads Python again.");
    plans.focus();
  });
  copy(links, () => new URL(address(asks()), location.href).href);
  show();
  answered = JSON.stringify(asks()); // the page comes with the answer to the form as it stands
  dress();
  const unknown = recall();
  for (const [place, value] of typed.entries()) {
    if (fields[place].files) fields[place].files = value;
    else if (value !== first[fields[place].name]) fields[place].value = value;
  }
  show();
  if (own) take(own); // before this ran
  stale();
  if (!location.search) return;
  const held = asks();
  const hidden = fields.find((field) => new URLSearchParams(location.search).has(field.name) && !(field.name in held));
  const not = unknown.length ? ` The address asks for ${unknown[0]}, which is no field.`
    : hidden ? ` The address asks for ${hidden.name}, which goes with ${hidden.closest("[data-when]").dataset.when}.` : "";
  if (!answer.classList.contains("stale")) {
    status.textContent = not.trim();
    return;
  }
  answer.hidden = true; // it is to another question
  status.textContent = `This address holds a question: press Plan, and it is answered here.${not}`;
  const asked = asks();
  const question = JSON.stringify(asked);
  fetch(absolute(`${settings.downloads}../`)).then((page) => page.text()).then((text) => {
    const told = known(tableOf(new DOMParser().parseFromString(text, "text/html")), asked, first);
    if (!told || working || JSON.stringify(asks()) !== question) return;
    const [summary, sure] = told;
    answer.replaceChildren(
      make("p", { className: "planner-summary", innerHTML: summary }), // of the site's own numbers
      make("p", { textContent: `${sure} This is from the home page’s table; press Plan for latencies with intervals, memory, other GPUs and flags.` }),
    );
    answered = question;
    whole = false;
    stale();
    status.textContent = `The question of this address is answered below.${not}`;
  }).catch(() => {}); // the press is left
}
