// Python in a worker of its own: loaded once, ended by its page.
let python = null;
const say = (kind, content) => postMessage({ kind, content });

const text = async (address) => {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return answer;
};

// What is typed or pasted into the page computes, and reaches nothing: no network, nothing stored, no other worker.
function offline() {
  const ways = ["fetch", "XMLHttpRequest", "WebSocket", "WebSocketStream", "WebTransport", "EventSource", "Request", "importScripts", "Worker", "SharedWorker", "BroadcastChannel", "indexedDB", "caches", "navigator"];
  for (const name of ways)
    for (let place = self; place; place = Object.getPrototypeOf(place)) delete place[name];
}

async function start({ pyodide, packages, bundle, engine }) {
  say("status", "Loading Python…");
  const { loadPyodide } = await import(`${pyodide}pyodide.mjs`);
  python = await loadPyodide({
    indexURL: pyodide,
    stdout: (line) => say("line", line),
    stderr: (line) => say("line", line),
  });
  let loaded = 0;
  await python.loadPackage(packages, {
    messageCallback: (line) => say("status", line.startsWith("Loading") ? line : `Loaded ${++loaded} packages…`),
    errorCallback: (line) => say("line", line),
  });
  say("status", "Unpacking the chapter…");
  python.unpackArchive(await (await text(bundle)).arrayBuffer(), "zip", { extractDir: "/chapter" });
  for (const file of ["live.py", "figures.py"])
    python.FS.writeFile(`/chapter/${file}`, await (await text(engine + file)).text());
  offline();
  python.runPython("import sys; sys.path.insert(0, '/chapter'); sys.dont_write_bytecode = True");
}

async function run({ name, source }) {
  say("status", "Running…");
  const started = performance.now();
  python.FS.writeFile(`/chapter/serving_mathematics/${name.replaceAll(".", "/")}.py`, source);
  const live = python.pyimport("live");
  const tell = (kind, content) => say(kind, content.toJs());
  const counts = await live.run.callPromising(name, tell); // lets asyncio.run wait, where the browser can
  say("done", { ...counts.toJs({ dict_converter: Object.fromEntries }), seconds: (performance.now() - started) / 1000 });
  counts.destroy();
}

async function answer({ name, call, text }) {
  say("status", "Reading the modules…");
  const live = python.pyimport("live");
  say("answer", live.answer(name, call, text, say));
}

onmessage = async ({ data }) => {
  try {
    if (!python) await start(data);
    await (data.call ? answer(data) : run(data));
  } catch (problem) {
    say("broken", String(problem?.message ?? problem));
  }
};
