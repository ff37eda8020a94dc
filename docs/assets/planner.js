// The capacity planner's form: what it asks goes to Python in the page's worker, what that answers becomes a table.
import { make, python } from "./live.js";

const LARGEST_TRACE = 64 * 2 ** 20; // bytes; what the browser's Python holds in memory many times over

export function open(form) {
  const place = document.querySelector(".live");
  form.hidden = !place; // the site offers no Python for the browser
  if (!place) return;
  const settings = { ...JSON.parse(place.dataset.live), packages: ["numpy"] }; // it draws nothing
  const [plans, stops] = form.querySelectorAll(".live-tools button");
  const status = form.querySelector(".live-status");
  const answer = form.querySelector(".planner-answer");
  const fields = [...form.querySelectorAll("[name]")];

  // Fields that another control makes needless are hidden, and not sent.
  const conditional = [...form.querySelectorAll("[data-when]")].map((line) => {
    const [name, value] = line.dataset.when.split("=");
    return [line, form.querySelector(`#planner-${name}`), value];
  });
  const show = () => {
    for (const [line, control, value] of conditional) line.hidden = control.value !== value;
  };
  // The address holds what differs from the form as it stands.
  const first = Object.fromEntries(fields.map((field) => [field.name, field.value]));
  const recall = () => {
    for (const [name, value] of new URLSearchParams(location.search)) {
      const field = fields.find((one) => one.name === name && one.type !== "file");
      if (field) field.value = value;
    }
  };
  const keep = (asked) => {
    const changed = Object.entries(asked).filter(([name, value]) => value !== first[name] && !name.startsWith("trace"));
    const address = `${location.pathname}${changed.length ? `?${new URLSearchParams(changed)}` : ""}`;
    if (address !== location.pathname + location.search) history.replaceState(history.state, "", address); // a browser asks for the icon again
  };
  const problem = (field, told) => {
    field.setAttribute("aria-invalid", String(Boolean(told)));
    form.querySelector(`#${field.id}-problem`).textContent = told;
  };
  let working = false;
  const busy = (now, told) => {
    working = now;
    plans.setAttribute("aria-disabled", String(working)); // and not `disabled`, which would lose the focus
    stops.disabled = !working;
    status.textContent = told;
  };
  const refuse = (name, told) => {
    const field = fields.find((one) => one.name === name);
    const shown = field && !field.closest("[hidden]");
    busy(false, shown ? "No plan: one field has a problem." : `No plan: ${told}.`);
    if (!shown) return plans.focus();
    const folded = field.closest("details");
    if (folded) folded.open = true;
    problem(field, told);
    field.focus();
  };

  const chapter = (line) => new URL(`${settings.downloads}../${line.chapter}/`, document.baseURI).href;
  const row = (line) => make("tr", { role: "row" }, // roles, because a phone shows rows as blocks
    make("th", { scope: "row", role: "rowheader", textContent: line.what }),
    make("td", { role: "cell", textContent: line.value }),
    make("td", { role: "cell", className: "planner-estimate", textContent: line.estimate }),
    make("td", { role: "cell" }, make("a", { href: chapter(line), textContent: line.title })));
  const copied = (told, text) => { // text with a button that copies it
    const button = make("button", { type: "button", textContent: "Copy" });
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    return make("div", { className: "planner-copy" }, make("p", {}, told, " ", button), make("pre", {}, make("code", { textContent: text, tabIndex: 0 })));
  };
  const folded = (told, [head, ...rows]) => make("details", {},
    make("summary", { textContent: told }),
    make("div", { className: "planner-rows", tabIndex: 0, role: "region", ariaLabel: told },
      make("table", { className: "plain" },
        make("thead", {}, make("tr", {}, ...head.map((title) => make("th", { scope: "col", textContent: title })))),
        make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map((textContent) => make("td", { textContent }))))))));
  const drawing = new DOMParser();
  const plotted = ({ svg, caption }) => make("figure", {},
    document.adoptNode(drawing.parseFromString(svg, "image/svg+xml").documentElement),
    make("figcaption", { textContent: caption }));
  const heard = {
    status: (told) => { status.textContent = told; },
    line: (told) => { console.warn(told); },
    answer: (text) => {
      const told = JSON.parse(text);
      if (told.problem) return refuse(told.field, told.problem);
      const heads = ["Line", "Simulated", "Closed form", "Chapter"].map((title) => make("th", { scope: "col", role: "columnheader", textContent: title }));
      answer.replaceChildren(
        make("p", { className: "planner-summary", textContent: told.summary }),
        make("div", { className: "planner-plots" }, ...told.plots.map(plotted)),
        ...told.plots.map(({ title, rows }) => folded(title, rows)),
        ...(told.compared.length ? [folded("The deployments that were compared", told.compared)] : []),
        make("table", { className: "plain", role: "table" }, make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, ...heads)), make("tbody", { role: "rowgroup" }, ...told.lines.map(row))),
        ...told.starts.map(([what, text]) => copied(what, text)),
        copied("The same plan from the command line:", told.command));
      answer.hidden = false;
      busy(false, "The plan is below.");
      answer.focus();
    },
    broken: (told) => busy(false, `Python could not be run: ${told.trim().split("\n").pop()}`),
  };
  const engine = python(settings, heard);

  form.addEventListener("input", show);
  form.addEventListener("input", ({ target }) => { // what was wrong is being mended
    if (target.getAttribute("aria-invalid") !== "true") return;
    problem(target, "");
    if (!working) status.textContent = "";
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (working) return;
    for (const field of fields) problem(field, "");
    const asked = {};
    for (const field of fields) {
      const none = field.tagName === "SELECT" && !field.value; // its parts are given instead
      if (!none && !field.closest("[hidden]")) asked[field.name] = field.value;
    }
    busy(true, "Reading the form…");
    keep(asked);
    answer.hidden = true;
    if ("trace" in asked) {
      const file = form.elements.trace.files[0];
      asked.trace = file?.name ?? "";
      if (file?.size > LARGEST_TRACE) return refuse("trace", `trace must be smaller than ${LARGEST_TRACE / 2 ** 20} MiB in a browser, got ${Math.ceil(file.size / 2 ** 20)} MiB; the command takes larger ones`);
      try {
        asked.trace_text = file ? await file.text() : "";
      } catch (unread) {
        return refuse("trace", `trace must be a file that can be read, got ${unread.message}`);
      }
    }
    if (working) engine.ask({ name: "planner.planner_form", call: "form_answer", text: JSON.stringify(asked) });
  });
  stops.addEventListener("click", () => {
    engine.stop();
    busy(false, "Stopped. The next plan loads Python again.");
    plans.focus();
  });
  recall();
  show();
}
