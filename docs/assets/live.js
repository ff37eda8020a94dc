// A chapter's modules, to be edited and run in the page. Loaded when a reader asks for it.
export const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

const absolute = (address) => new URL(address, document.baseURI).href;

// Python in a worker of a frame that reaches nothing (live.html). It starts with the first request: the page fetches what
// Python is made of, of these places only, and nothing more once Python is ready. `heard` has a function for each kind
// of message.
export function python(settings, heard) {
  const given = { packages: settings.packages, pyodide: absolute(settings.pyodide), bundle: absolute(settings.bundle), engine: absolute(`${settings.downloads}builder/`) };
  const places = [given.pyodide, given.bundle, given.engine];
  let frame = null;
  let worker = null; // the way to it
  const stop = () => {
    worker?.close();
    frame?.remove();
    frame = worker = null;
  };
  const broken = (told) => {
    stop();
    heard.broken(told);
  };
  const fetched = async ({ file, address, integrity }) => {
    const answer = await fetch(address, integrity ? { integrity } : {});
    if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
    return { file, body: await answer.arrayBuffer(), type: answer.headers.get("Content-Type") };
  };
  const start = () => {
    let ready = false;
    const { port1: mine, port2 } = new MessageChannel();
    const kinds = {
      fetch: async (asked) => {
        const may = !ready && places.some((place) => new URL(asked.address).href.startsWith(place));
        mine.postMessage(await (may ? fetched(asked) : Promise.reject(new Error("nothing is fetched for what runs here")))
          .catch(({ message }) => ({ file: asked.file, problem: message })));
      },
      ready: () => { ready = true; },
      broken,
    };
    mine.onmessage = ({ data: { kind, content } }) => worker === mine && (kinds[kind] ?? heard[kind])(content);
    worker = mine;
    frame = make("iframe", { src: new URL("live.html", import.meta.url).href, hidden: true, title: "Python" });
    frame.setAttribute("sandbox", "allow-scripts");
    frame.addEventListener("load", async () => {
      const source = await fetch(new URL("live-worker.js", import.meta.url));
      frame?.contentWindow.postMessage(await source.text(), "*", [port2]);
    });
    document.body.append(frame);
  };
  return {
    stop,
    ask(request) {
      if (!worker) start();
      worker.postMessage({ ...request, ...given });
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
