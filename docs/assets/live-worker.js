// Python in a worker of its own: loaded once, ended by its page.
let python = null;
const say = (kind, content) => postMessage({ kind, content });

// The files of Pyodide 314.0.3 that nothing else vouches for: the sums of its packages stand in the lock file.
const SUMS = {
  "pyodide.mjs": "sha256-XPxG9dy68qFvJuI2P0QYc+tCR2JgnMA9sA1qKs5NAOU=",
  "pyodide.asm.mjs": "sha256-Gpd1Qn726KuqfbiOzgUVQi0YhpFa5ckJN3ZBDIZd/Y0=",
  "pyodide.asm.wasm": "sha256-5/j6w2+L8RCFMJy8XIKbPsMFfBi/HXOwWmdBYS1jzb8=",
  "python_stdlib.zip": "sha256-REx3Df11oyCX/Ap9XBQT/TFAYB9Jw6Hy6a8DdvzRJLQ=",
  "pyodide-lock.json": "sha256-Z+bwti+pctql/CfCizwq04j140OgvmyrlGTR3vBqVKY=",
};

// The worker has no network (live.html): the page fetches for it, until it says that it is ready for what a reader types.
const asked = [];
function fetched(address, { integrity } = {}) {
  const answer = new Promise((...ends) => asked.push(ends));
  say("fetch", { file: asked.length - 1, address: `${address}`, integrity });
  return answer;
}
function arrived({ file, body, type, problem }) {
  const [done, failed] = asked[file];
  if (problem) failed(new Error(problem));
  else done(new Response(body, { headers: { "Content-Type": type } }));
}

// A module whose bytes are fetched, and so compared with their sum, before they run; import() itself compares nothing.
async function compared(address) {
  const content = await (await fetch(address)).blob();
  const url = URL.createObjectURL(content.slice(0, content.size, "text/javascript"));
  try {
    return await import(url);
  } finally {
    URL.revokeObjectURL(url);
  }
}

async function start({ pyodide, packages, bundle, engine }) {
  say("status", "Loading Python…");
  let refuse;
  const refused = new Promise((_, reject) => (refuse = reject)); // some of what follows waits for ever instead
  self.fetch = async (address, options) => {
    const sum = SUMS[`${address}`.startsWith(pyodide) ? `${address}`.slice(pyodide.length) : ""];
    try {
      return await fetched(address, sum ? { ...options, integrity: sum } : options);
    } catch (problem) {
      const told = new Error(`${address} is out of reach or has another sum (${problem.message})`);
      refuse(told);
      throw told;
    }
  };
  const { loadPyodide } = await compared(`${pyodide}pyodide.mjs`);
  const loading = loadPyodide({
    indexURL: pyodide,
    createPyodideModule: (await compared(`${pyodide}pyodide.asm.mjs`)).default,
    stdout: (line) => say("line", line),
    stderr: (line) => say("line", line),
  });
  python = await Promise.race([refused, loading]);
  let loaded = 0;
  const adding = python.loadPackage(packages, {
    messageCallback: (line) => say("status", line.startsWith("Loading") ? line : `Loaded ${++loaded} packages…`),
    errorCallback: (line) => say("line", line),
  });
  await Promise.race([refused, adding]);
  say("status", "Unpacking the chapter…");
  python.unpackArchive(await (await fetch(bundle)).arrayBuffer(), "zip", { extractDir: "/chapter" });
  for (const file of ["live.py", "figures.py"])
    python.FS.writeFile(`/chapter/${file}`, await (await fetch(engine + file)).text());
  say("ready");
  python.runPython("import sys; sys.path.insert(0, '/chapter'); sys.dont_write_bytecode = True");
}

async function run({ how, given }) { // a function of live.py and what it gets
  say("status", "Running…");
  const started = performance.now();
  const tell = (kind, content) => say(kind, content.toJs());
  const counts = await python.pyimport("live")[how].callPromising(...given, tell); // lets asyncio.run wait, where the browser can
  say("done", { ...counts.toJs({ dict_converter: Object.fromEntries }), seconds: (performance.now() - started) / 1000 });
  counts.destroy();
}

async function answer({ name, call, text }) {
  say("status", "Reading the modules…");
  const live = python.pyimport("live");
  say("answer", live.answer(name, call, text, say));
}

onmessage = async ({ data }) => {
  if ("file" in data) return arrived(data);
  try {
    if (!python) await start(data);
    await (data.call ? answer(data) : run(data));
  } catch (problem) {
    say("broken", String(problem?.message ?? problem));
  }
};
