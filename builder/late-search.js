// The theme starts its search and asks for the whole index on every page: twice the weight of a page. Here both
// wait until somebody goes to search, or came with a query; and around the theme's search stands search-worker.js.
const wanted = new Promise((resolve) => {
  if (new URLSearchParams(location.search).has("q")) resolve();
  for (const event of ["focusin", "input"])
    document.addEventListener(event, ({ target }) => { if (target.closest?.('[role="dialog"] form')) resolve(); });
});
const { open, send } = XMLHttpRequest.prototype;
XMLHttpRequest.prototype.open = function (method, url, ...rest) {
  this.isSearch = new URL(url, location.href).pathname.endsWith("/search/search_index.json");
  open.call(this, method, url, ...rest);
};
XMLHttpRequest.prototype.send = function (...body) {
  if (this.isSearch) wanted.then(() => send.apply(this, body));
  else send.apply(this, body);
};
const Started = Worker;
class Later extends EventTarget {
  constructor(url, ...rest) {
    super();
    this.worker = wanted.then(() => {
      const worker = new Started(url, ...rest);
      worker.addEventListener("message", ({ data }) => this.dispatchEvent(new MessageEvent("message", { data })));
      return worker;
    });
  }
  postMessage(...message) { this.worker.then((worker) => worker.postMessage(...message)); }
  terminate() { this.worker.then((worker) => worker.terminate()); }
}
window.Worker = function (url, ...rest) {
  const [, assets, name] = /^(.*\/)assets\/javascripts\/workers\/(search\.[^/]*)$/.exec(new URL(url, location.href)) ?? [];
  return name ? new Later(`${assets}search/worker.js?${name}`, ...rest) : new Started(url, ...rest);
};
