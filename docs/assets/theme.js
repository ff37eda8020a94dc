// What the theme leaves to a mouse and to the eye, for keys, voices and screen readers. It comes with the theme's own script, and goes with it.
const drawer = document.getElementById("__drawer");
const search = document.getElementById("__search");
const query = document.querySelector(".md-search__input");
const side = document.querySelector(".md-sidebar--primary");

// A translator leaves names and formulas as they are.
for (const one of document.querySelectorAll("code, math")) one.translate = false;

// In a narrow window no stop of the keyboard lies in a menu, or in a level of it, that is out of sight.
document.head.append(Object.assign(document.createElement("style"), { textContent: `@media screen and (max-width: 76.234375em) {
  #__drawer:not(:checked) ~ .md-container .md-sidebar--primary, .md-nav--primary:has(> ul > li > :checked), .md-nav--primary .md-nav:has(> ul > li > :checked), .md-nav--primary .md-nav__toggle:not(:checked) ~ .md-nav { visibility: hidden; }
  #__drawer:checked ~ .md-container .md-nav--primary :checked ~ .md-nav:not(:has(> ul > li > :checked)) { visibility: visible; }
}` }));

// What opens and closes something is a label, whose icon is made a button.
const button = (label, name) => {
  const icon = label.firstElementChild;
  const input = document.getElementById(label.htmlFor);
  const told = () => icon.setAttribute("aria-expanded", input.checked);
  const press = (event) => {
    event.preventDefault();
    input.click();
  };
  Object.assign(icon, { tabIndex: 0, role: "button", ariaLabel: name });
  icon.addEventListener("click", press); // what can be focused is no part of its label to every browser
  icon.addEventListener("keydown", (event) => [" ", "Enter"].includes(event.key) && press(event));
  input.addEventListener("change", told);
  told();
  return icon;
};
const menu = button(document.querySelector("header label[for=__drawer]"), "Menu");
for (const label of side.querySelectorAll('label.md-nav__link[tabindex="0"]')) {
  label.removeAttribute("tabindex");
  button(label, `Pages of ${label.previousElementSibling.textContent.trim()}`);
}
for (const label of side.querySelectorAll(".md-nav__title[for^=__nav]")) button(label, `Back from ${label.textContent.trim()}`);

// The menu of a narrow window takes the focus and closes behind it; it and the search give it back.
side.addEventListener("change", () => drawer.checked && enter());
drawer.addEventListener("change", () => drawer.checked && enter());
const enter = () => [...side.querySelectorAll("a, [role=button]")].find((one) => one.offsetWidth && getComputedStyle(one).visibility === "visible")?.focus();
side.addEventListener("focusout", ({ relatedTarget: to }) => { if (drawer.checked && to && to !== menu && !side.contains(to)) drawer.click(); });
addEventListener("keydown", ({ key }) => {
  if (key !== "Escape") return;
  if (search.checked) setTimeout(() => early.left?.focus({ preventScroll: true })); // when the theme has closed it
  if (!drawer.checked) return;
  drawer.click();
  menu.focus();
}, true);

// The search of a narrow window holds the page until after it is left: what gets the focus then is not scrolled to.
new MutationObserver(() => {
  const { body, activeElement: one } = document;
  if (!("mdScrolllock" in body.dataset) && one !== body && one !== early.left) one.scrollIntoView({ block: "nearest" });
}).observe(document.body, { attributeFilter: ["data-md-scrolllock"] });

// The search hears what is pasted, dictated or chosen, and says what it found.
query.addEventListener("input", () => query.dispatchEvent(new Event("keyup")));
query.addEventListener("focus", ({ relatedTarget: from }) => {
  if (from && !from.closest(".md-search")) early.left = from;
  if (!search.checked) search.click(); // the theme misses a focus right after a blur
});
const meta = document.querySelector(".md-search-result__meta");
meta.role = "status";

// Where nothing matches, what lists everything is offered: below the results, for among them the theme goes with keys to the first link, hidden or not.
const base = JSON.parse(document.getElementById("__config").textContent).base;
const lists = [["glossary", "Glossary"], ["start", "All chapters"], ["references", "References"]].map(([page, title]) => `<a href="${base}/${page}/">${title}</a>`);
const elsewhere = Object.assign(document.createElement("p"), { className: "search-elsewhere", hidden: true, innerHTML: `Look in: ${lists.join(" ")}` });
meta.parentElement.after(elsewhere);
new MutationObserver(() => { elsewhere.hidden = !meta.textContent.startsWith("No matching"); }).observe(meta, { childList: true, characterData: true, subtree: true });

// One key opens it: letters are words of who dictates, and with Alt the browser's menus.
addEventListener("keydown", (event) => {
  const { key, altKey, target } = event;
  const editable = target.closest?.("input, textarea, select, [contenteditable]");
  if (!search.checked && !editable && (["f", "s"].includes(key) || (altKey && key === "/"))) event.stopImmediatePropagation();
}, true);

// Of a session what one types is copied, without prompts and answers.
document.addEventListener("click", ({ target }) => {
  const block = target.closest?.(".md-code__button")?.closest("pre");
  if (!block?.querySelector(".gp")) return;
  const typed = block.cloneNode(true);
  for (const one of typed.querySelectorAll(".md-code__nav, .gp, .go")) one.remove();
  block.dataset.copy = typed.textContent.replace(/\n{2,}/g, "\n").trim();
}, true);
