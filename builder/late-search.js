// The theme asks for the index of its search on every page: three times the weight of a page. Here that request
// waits until somebody goes to search, or came with a query.
const { open, send } = XMLHttpRequest.prototype;
const wanted = new Promise((resolve) => {
  if (new URLSearchParams(location.search).has("q")) resolve();
  for (const event of ["focusin", "input"])
    document.addEventListener(event, ({ target }) => { if (target.closest?.('[role="dialog"] form')) resolve(); });
});
XMLHttpRequest.prototype.open = function (method, url, ...rest) {
  this.isSearch = new URL(url, location.href).pathname.endsWith("/search/search_index.json");
  open.call(this, method, url, ...rest);
};
XMLHttpRequest.prototype.send = function (...body) {
  if (this.isSearch) wanted.then(() => send.apply(this, body));
  else send.apply(this, body);
};
