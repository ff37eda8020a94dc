// A chapter's modules, to be edited and run in the page. Loaded when a reader asks for it.
import { copy } from "./home.js";

export const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

// A text with what it is, and a button that copies it.
export const copied = (text) => {
  const told = text.querySelector("p");
  const button = make("button", { type: "button", textContent: "Copy", ariaLabel: `Copy ${told.textContent}` });
  copy(button, () => text.querySelector("code").textContent);
  told.append(" ", button);
  return text;
};

// What a file has: its text, or bytes that are no UTF-8, which Python unpacks, or refuses as the command does.
export const content = async (file) => {
  const bytes = await file.arrayBuffer();
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(bytes) };
  } catch {
    const read = new FileReader();
    await new Promise((done, fail) => Object.assign(read, { onload: done, onerror: () => fail(read.error) }).readAsDataURL(new Blob([bytes])));
    return { base64: read.result.slice(read.result.indexOf(",") + 1) };
  }
};

// Why Python could not be run, said by the status and shown below it: with another try, and a command that answers the same.
export const outage = (status) => {
  let box = null;
  const clear = () => {
    if (!box) return;
    box.remove();
    box = null;
    status.textContent = "";
    status.classList.remove("live-error");
  };
  return {
    clear,
    show: (told, button, command, what = "The same from a shell:") => { // button: that is pressed again
      clear();
      status.classList.add("live-error");
      status.textContent = `Python could not be run: ${told.trim().split("\n").pop()}`;
      const retry = make("button", { type: "button", textContent: "Retry" });
      retry.addEventListener("click", () => {
        button.focus();
        button.click();
      });
      const code = make("pre", {}, make("code", { tabIndex: 0, textContent: command }));
      box = make("div", { className: "live-error" },
        make("p", {}, retry),
        copied(make("div", { className: "planner-copy" }, make("p", { textContent: what }), code)));
      status.after(box);
      box.scrollIntoView({ block: "nearest" });
    },
  };
};

export const absolute = (address) => new URL(address, document.baseURI).href;

// Python in a worker of a frame that reaches nothing (live.html). It starts with the first request: the page fetches what
// Python is made of, of these places only, and nothing more once Python is ready. `heard` has a function for each kind
// of message.
export function python(settings, heard) {
  const given = { packages: settings.packages, pyodide: absolute(settings.pyodide), bundle: absolute(settings.bundle), engine: absolute(`${settings.downloads}builder/`) };
  const places = [given.pyodide, given.bundle, given.engine];
  let frame = null;
  let worker = null; // the way to it
  let loaded = 0; // bytes
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
    const body = await answer.arrayBuffer();
    loaded += body.byteLength;
    if (worker) heard.status(`Loading Python, ${Math.ceil(loaded / 2 ** 20)} MB so far…`);
    return { file, body, type: answer.headers.get("Content-Type") };
  };
  const start = () => {
    let ready = false;
    loaded = 0;
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
    const source = fetch(new URL("live-worker.js", import.meta.url)).then((answer) => (answer.ok ? answer.text() : Promise.reject(new Error(answer.status))));
    source.catch(({ message }) => worker === mine && broken(`the site is out of reach: ${message}`));
    frame.addEventListener("load", () => source.then((text) => frame?.contentWindow.postMessage(text, "*", [port2]), () => {}));
    document.body.append(frame);
  };
  return {
    stop,
    ask(request) {
      if (!("WebAssembly" in window)) return heard.broken("this browser has no WebAssembly, as in its lockdown mode; the code can be copied and run elsewhere");
      if (!worker) start();
      worker.postMessage({ ...request, ...given });
    },
  };
}

// One Python for all editors of a page. Who asks hears, until it is answered.
let engine = null;
let listening = null;
let next = null; // what runs when it is
function ask(settings, request, heard) {
  const kinds = ["status", "line", "figure", "done", "broken"];
  engine ??= python(settings, Object.fromEntries(kinds.map((kind) => [kind, (content) => listening?.[kind](content)])));
  listening = heard;
  engine.ask(request);
}

// The text of a text area with line numbers and colours; the area itself where they cannot be had. Gives what shows another
// text, what types one, and what ends it.
async function coloured(area, run) {
  const code = await import(new URL("codemirror.js", import.meta.url).href).catch(() => null);
  if (!code || !area.isConnected) return null;
  const keys = [{ key: "Mod-Enter", run: () => (run(), true) }, ...code.defaultKeymap, ...code.historyKeymap];
  const extensions = [
    code.lineNumbers(), code.EditorView.lineWrapping, code.history(), code.drawSelection(), code.indentUnit.of("    "), code.StreamLanguage.define(code.python),
    code.syntaxHighlighting(code.classHighlighter), code.keymap.of(keys),
    code.EditorView.contentAttributes.of({ "aria-label": area.ariaLabel, tabindex: "0" }), // what scrolls can be gone to
    code.EditorView.updateListener.of(({ docChanged, state }) => {
      if (docChanged) typed(area, state.doc.toString());
    }),
  ];
  const begun = (doc, selection) => code.EditorState.create({ doc, selection, extensions }); // with nothing to undo
  const view = new code.EditorView({ state: begun(area.value, { anchor: area.selectionStart, head: area.selectionEnd }) });
  area.after(view.dom);
  if (document.activeElement === area) view.focus();
  area.hidden = true;
  return {
    show: (text) => view.setState(begun(text)),
    type: (text) => view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } }),
    end: () => view.destroy(),
  };
}

const CHECKS = "The checks of the module as it is, from a shell:";
const MOST_LINES = 2000; // of output that are shown
const MOST_CHARACTERS = 500_000; // of them together

function typed(area, text) {
  area.value = text;
  area.dispatchEvent(new Event("input"));
}

// An editor, what runs it, and what came of it. label: of the editor. request: what Python is asked. call: lines to be run
// with it. first, last: more buttons. finished: what is said of counts. command: for a shell, and what it does.
function bench(settings, { label, rows, verb, request, call, first = [], last = [], finished, command }) {
  const area = (className, ariaLabel, rows) => make("textarea", { className, ariaLabel, rows, spellcheck: false });
  const editor = area("live-source", `Source of ${label}`, rows);
  const calls = call === undefined ? [] : [area("live-call", "Then run", call.split("\n").length)];
  const button = (textContent) => make("button", { type: "button", textContent, ariaLabel: `${textContent} ${label}` });
  const [runs, stops, resets] = [verb, "Stop", "Reset"].map(button);
  stops.disabled = true;
  const status = make("p", { className: "live-status", role: "status" });
  const printed = make("pre", { className: "live-output", tabIndex: 0, ariaLabel: `Output of ${label}`, hidden: true });
  printed.setAttribute("role", "region");
  const figures = make("div", { className: "live-figures" });
  const tools = make("div", { className: "live-tools" }, ...first, runs, stops, resets, ...last);
  const labelled = calls.map((area) => make("label", { className: "live-then", textContent: area.ariaLabel }, area));
  const parts = [...(first.length ? [tools, editor] : [editor, ...labelled, tools]), status, printed, figures];
  for (const area of calls) area.value = call;

  const outages = outage(status);
  const tell = (told) => {
    outages.clear();
    status.textContent = told;
  };
  const say = (told) => { // in view; progress is not, or it would call back whoever reads on
    tell(told);
    status.scrollIntoView({ block: "nearest" });
  };
  let lines = [];
  let came = 0;
  let room = MOST_CHARACTERS;
  const print = () => { // what has come since the last frame
    if (lines.length) printed.append(lines.join(""));
    lines = [];
  };
  const idle = (told) => {
    listening = null;
    runs.disabled = false;
    if (document.activeElement === stops) runs.focus();
    stops.disabled = true;
    print();
    say(told);
    const later = next;
    next = null;
    later?.();
  };
  const heard = {
    status: tell,
    line: (told) => {
      if (came > MOST_LINES || room < 0) return;
      came += 1;
      if (!lines.length) requestAnimationFrame(print);
      const shown = came > MOST_LINES ? "" : told.slice(0, room);
      room -= told.length;
      const most = came > MOST_LINES ? `${MOST_LINES} lines` : `${MOST_CHARACTERS} characters`;
      lines.push(came > MOST_LINES || room < 0 ? `${shown}… more than ${most}: the rest is not shown\n` : `${told}\n`);
    },
    figure: ([name, caption, light, dark]) => {
      const image = (theme, svg) => {
        const address = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
        return make("img", { className: `only-${theme}`, src: address, alt: caption });
      };
      figures.append(make("figure", { className: "plot" }, image("light", light), image("dark", dark), make("figcaption", { textContent: caption })));
    },
    done: (counts) => idle(finished(counts)),
    broken: (told) => {
      idle("");
      if (listening !== heard) outages.show(told, runs, ...command());
    },
  };
  const clear = () => {
    printed.textContent = "";
    for (const image of figures.querySelectorAll("img")) URL.revokeObjectURL(image.src);
    figures.replaceChildren();
  };
  const run = () => {
    if (listening === heard) return;
    if (listening) {
      next = run;
      say("This runs when Python is done with another editor of this page.");
      return;
    }
    stops.disabled = false;
    if (document.activeElement === runs) stops.focus();
    runs.disabled = true;
    came = 0;
    room = MOST_CHARACTERS;
    printed.hidden = false;
    outages.clear();
    clear();
    status.scrollIntoView({ block: "nearest" });
    ask(settings, request(editor.value, ...calls.map((area) => area.value)), heard);
  };
  const stop = () => {
    if (next === run) next = null;
    if (listening !== heard) return;
    engine.stop();
    idle("Stopped. The next run loads Python again.");
  };
  let original = "";
  let view = null;
  const show = (text, source) => { // source: what Reset brings back
    original = source;
    editor.value = text;
    view?.show(text);
  };
  runs.addEventListener("click", run);
  editor.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run(); });
  stops.addEventListener("click", stop);
  resets.addEventListener("click", () => {
    if (view) view.type(original);
    else typed(editor, original);
    for (const area of calls) area.value = call;
    say("The source is as it was when the page was built.");
  });
  const begin = async () => {
    editor.setSelectionRange(0, 0); // and not after the last line, to which the page would be scrolled
    editor.focus({ preventScroll: true });
    view = await coloured(editor, run);
  };
  const end = () => {
    stop();
    clear();
    view?.end();
  };
  return { parts, editor, show, begin, run, say, end };
}

const counted = ({ passed, failed, absent, seconds }, of = "") => {
  const parts = [`${passed} comparison${passed === 1 ? "" : "s"}${of} passed`];
  if (failed) parts.push(`${failed} failed`);
  if (absent) parts.push(`${absent} need what a browser lacks`);
  return `${parts.join(", ")}; ${seconds.toFixed(1)} s.`;
};

// The page's modules, whole.
export function open(place) {
  const { modules, ...settings } = JSON.parse(place.dataset.live);
  const edited = new Map();
  const choice = make("select", { ariaLabel: "Module" }, ...modules.map((name) => make("option", { value: name, textContent: `${name.replaceAll(".", "/")}.py` })));
  let shown = choice.value; // which is not the chosen one until its source has come
  const { parts, editor, show, begin, say } = bench(settings, {
    label: "the module", rows: 24, verb: "Run", first: [choice], finished: (counts) => counted(counts),
    command: () => [`serving-mathematics check ${shown}`, CHECKS],
    request: (source) => ({ how: "run", given: [shown, source] }),
  });
  place.replaceChildren(...parts);
  editor.addEventListener("input", () => edited.set(shown, editor.value));
  const change = async () => {
    const name = choice.value;
    try {
      const answer = await fetch(absolute(`${settings.downloads}serving_mathematics/${name.replaceAll(".", "/")}.py`));
      if (!answer.ok) throw new Error(answer.status);
      const source = await answer.text();
      if (name !== choice.value) return;
      shown = name;
      show(edited.get(name) ?? source, source);
    } catch ({ message }) {
      if (name !== choice.value) return;
      choice.value = shown;
      say(`The source of ${name} is out of reach: ${message}`);
    }
  };
  choice.addEventListener("change", change);
  change().then(begin);
}

// Answers, by their exercise: one that was closed is not lost, nor one whose page is loaded again, where the browser keeps it.
const written = new Map();
const kept = (name) => `${location.pathname}#${name}`;
const keep = (name, text) => {
  written.set(name, text);
  try { sessionStorage.setItem(kept(name), text); } catch { /* nothing is kept */ }
};
const answered = (name) => {
  try { return sessionStorage.getItem(kept(name)) ?? written.get(name); } catch { return written.get(name); }
};

// What a block of code shows, or an exercise asks for, below it.
export function openBelow(button, place) {
  const settings = JSON.parse(place.dataset.live);
  const { runs: module, call, answers, given } = button.dataset;
  const tools = button.parentElement;
  let block = tools;
  while (!given && !block.matches(".snippet")) block = block.previousElementSibling;
  const text = given ?? block.querySelector("code").textContent.trimEnd();
  const name = answers ?? /(?:def|class) (\w+)/.exec(text)?.[1] ?? "the block";
  const label = given ? `your answer, ${name}` : `the code of ${name}`;
  const closes = make("button", { type: "button", textContent: "Close", ariaLabel: `Close ${label}` });
  const { parts, editor, show, begin, run, end } = bench(settings, {
    label, rows: Math.min(text.split("\n").length + 1, 24), verb: given ? "Check" : "Run",
    call, last: [closes],
    command: () => given ? [`serving-mathematics exercises ${module.split(".", 2).join("/").replaceAll("_", "-")} answers.py`] : [`serving-mathematics check ${module}`, CHECKS],
    request: (source, lines) => given ? { how: "judge", given: [module, source, answers] } : { how: "call", given: [module, source, lines] },
    finished: given
      ? ({ failed, absent, seconds }) => `${failed || absent ? "Not yet" : "Right"}; ${seconds.toFixed(1)} s.`
      : (counts) => counted(counts, " of the checks that use it"),
  });
  if (given) editor.addEventListener("input", () => keep(name, editor.value));
  const below = make("div", { className: "live-below" }, ...parts);
  closes.addEventListener("click", () => {
    end();
    below.remove();
    button.disabled = false;
    button.focus();
  });
  tools.after(below);
  show((given && answered(name)) ?? text, text);
  begin();
  if (!given) run();
}
