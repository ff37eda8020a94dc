// In the place of the theme's search worker, which it starts and feeds with the whole index on every page:
// the worker and the index are loaded at the first query. What the theme takes for the index has no documents.
const [SETUP, READY, , RESULT] = [0, 1, 2, 3]; // the theme's messages
let setup = null;
let started = null;

async function start() {
  const worker = new Worker(new URL(`javascripts/workers/${location.search.slice(1)}`, location.href));
  const answer = await fetch(new URL("../search/documents.json", location.href));
  if (!answer.ok) throw new Error(`the search index is not there: ${answer.status}`);
  const { docs } = await answer.json();
  return new Promise((ready) => {
    worker.addEventListener("message", ({ data }) => (data.type === READY ? ready(worker) : postMessage(data)));
    worker.postMessage({ ...setup, data: { ...setup.data, docs } });
  });
}

addEventListener("message", async ({ data }) => {
  if (data.type === SETUP) {
    setup = data;
    postMessage({ type: READY });
  } else if (!data.data && !started) {
    postMessage({ type: RESULT, data: { items: [] } }); // the theme asks for nothing when a page opens
  } else {
    started ??= start();
    (await started).postMessage(data);
  }
});
