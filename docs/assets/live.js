// A chapter's modules, to be edited and run in the page. Loaded when a reader asks for it.
export const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

const absolute = (address) => new URL(address, document.baseURI).href;

// Python in a worker that starts with the first request. `heard` has a function for each kind of message.
export function python(settings, heard) {
  let worker = null;
  const stop = () => {
    worker?.terminate();
    worker = null;
  };
  const broken = (told) => {
    stop();
    heard.broken(told);
  };
  return {
    stop,
    ask(request) {
      if (!worker) {
        const mine = new Worker(new URL("live-worker.js", import.meta.url), { type: "module" });
        worker = mine;
        const hear = (kind, content) => worker === mine && (kind === "broken" ? broken : heard[kind])(content);
        worker.addEventListener("message", ({ data }) => hear(data.kind, data.content));
        worker.addEventListener("error", (event) => hear("broken", event.message || "the worker did not start"));
      }
      worker.postMessage({
        ...request,
        packages: settings.packages,
        pyodide: absolute(settings.pyodide),
        bundle: absolute(settings.bundle),
        engine: absolute(`${settings.downloads}builder/`),
      });
    },
  };
}

export function open(place) {
  const { modules, ...settings } = JSON.parse(place.dataset.live);
  const { downloads } = settings;
  const edited = new Map();

  const choice = make("select", { ariaLabel: "Module" }, ...modules.map((name) => make("option", { value: name, textContent: `${name.replaceAll(".", "/")}.py` })));
  const editor = make("textarea", { className: "live-source", ariaLabel: "Source of the module", spellcheck: false, rows: 24, wrap: "off" });
  const runs = make("button", { type: "button", textContent: "Run" });
  const stops = make("button", { type: "button", textContent: "Stop", disabled: true });
  const resets = make("button", { type: "button", textContent: "Reset" });
  const status = make("p", { className: "live-status", role: "status" });
  const printed = make("pre", { className: "live-output", tabIndex: 0, ariaLabel: "Output", hidden: true });
  printed.setAttribute("role", "region");
  const figures = make("div", { className: "live-figures" });
  place.replaceChildren(make("div", { className: "live-tools" }, choice, runs, stops, resets), editor, status, printed, figures);

  const original = async (name) => {
    const answer = await fetch(absolute(`${downloads}serving_mathematics/${name.replaceAll(".", "/")}.py`));
    if (!answer.ok) throw new Error(`the source of ${name} is not there: ${answer.status}`);
    return answer.text();
  };
  const show = async () => {
    const name = choice.value;
    const source = edited.get(name) ?? (await original(name));
    if (name === choice.value) editor.value = source;
  };
  const idle = (told) => {
    runs.disabled = false;
    stops.disabled = true;
    status.textContent = told;
  };
  const heard = {
    status: (told) => { status.textContent = told; },
    line: (told) => { printed.textContent += `${told}\n`; },
    figure: ([name, caption, light, dark]) => {
      const image = (theme, svg) => {
        const address = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
        return make("img", { className: `only-${theme}`, src: address, alt: caption });
      };
      figures.append(make("figure", { className: "plot" }, image("light", light), image("dark", dark), make("figcaption", { textContent: caption })));
    },
    done: ({ passed, failed, absent, seconds }) => {
      const parts = [`${passed} comparisons passed`];
      if (failed) parts.push(`${failed} failed`);
      if (absent) parts.push(`${absent} need what a browser lacks`);
      idle(`${parts.join(", ")}; ${seconds.toFixed(1)} s.`);
    },
    broken: (told) => idle(`Python could not be run: ${told}`),
  };
  const engine = python(settings, heard);

  runs.addEventListener("click", () => {
    runs.disabled = true;
    stops.disabled = false;
    printed.hidden = false;
    printed.textContent = "";
    for (const image of figures.querySelectorAll("img")) URL.revokeObjectURL(image.src);
    figures.replaceChildren();
    engine.ask({ name: choice.value, source: editor.value });
  });
  stops.addEventListener("click", () => {
    engine.stop();
    idle("Stopped. The next run loads Python again.");
  });
  resets.addEventListener("click", async () => {
    edited.delete(choice.value);
    await show();
    status.textContent = "The source is as it was when the page was built.";
  });
  editor.addEventListener("input", () => edited.set(choice.value, editor.value));
  choice.addEventListener("change", show);
  show().then(() => {
    editor.setSelectionRange(0, 0); // and not after the last line, to which the page would be scrolled
    editor.focus();
  }, (problem) => heard.broken(problem.message));
}
