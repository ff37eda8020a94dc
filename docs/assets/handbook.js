// Code is folded to its algorithm, and to a screen, where scripts run; a button shows the rest.
for (const button of document.querySelectorAll(".snippet-fold")) {
  const block = button.parentElement.previousElementSibling;
  const more = button.innerHTML;
  button.addEventListener("click", () => {
    const folded = block.classList.toggle("is-folded");
    button.setAttribute("aria-expanded", String(!folded));
    button.innerHTML = folded ? more : more.replace(/^[^<]*/, "Show less");
    if (folded) block.scrollIntoView({ block: "nearest" });
    for (const code of block.querySelectorAll("pre > code")) { // which may have become wider than its place
      widths.unobserve(code);
      widths.observe(code);
    }
  });
}

// Each block of code, but for what a form writes, has the theme's copy button, named by its first line that tells something. The theme would make a landmark
// of each, and lay the page out for each.
for (const [place, code] of document.querySelectorAll(".md-typeset pre > code:not([tabindex])").entries()) {
  const text = code.textContent;
  const [line] = text.match(/^(?!@|from |import |#|\s).+$/m) ?? text.match(/[\w-]+/) ?? [`block ${place + 1}`];
  const told = line.trim().split(/\s+/).join(" ");
  code.id = `code-block-${place + 1}`;
  const button = Object.assign(document.createElement("button"), { className: "md-code__button", title: "Copy to clipboard" });
  button.ariaLabel = `Copy ${told.slice(0, 40)}${told.length > 40 ? "…" : ""}`;
  Object.assign(button.dataset, { mdType: "copy", clipboardTarget: `#${code.id}` });
  code.before(Object.assign(document.createElement("span"), { className: "md-code__nav" }));
  code.previousSibling.append(button);
}

// A link to the heading of what is folded opens it; what lies within opens by itself.
const unfold = () => document.querySelector("details:target, :target + details")?.setAttribute("open", "");
for (const event of ["hashchange", "load"]) addEventListener(event, unfold);

// What could not be loaded is told beside the button that asked for it.
function outOfReach(button, what) {
  const told = button.parentElement.querySelector("[role=status]") ?? document.createElement("span");
  Object.assign(told, { className: "live-status", role: "status" });
  button.parentElement.append(" ", told);
  told.textContent = `The site is out of reach: ${what}.`;
}

// Of what was pressed before.
const { answers, again } = window.early ?? { again: (button) => button.click() };

// A copy button says where its text stands in a list of the page, which is loaded when somebody goes to a button.
let loading;
let list;
async function load({ dataset }) {
  loading ??= fetch(dataset.copied).then((answer) => {
    if (!answer.ok) throw new Error(`${answer.url}: ${answer.status}`);
    return answer.json();
  });
  try {
    list = await loading;
  } catch {
    // To try again.
    loading = undefined;
  }
}
for (const event of ["pointerover", "focusin"])
  document.addEventListener(event, ({ target }) => {
    const button = target.closest?.(".snippet-copy[data-copied]");
    if (button && !list) load(button);
  });
document.addEventListener("click", async (event) => {
  const button = event.target.closest(".snippet-copy[data-copied]");
  if (!button || button.dataset.clipboardText) return;
  const late = !list;
  if (late) {
    event.stopImmediatePropagation();
    await load(button);
    if (!list) return outOfReach(button, "what this needs cannot be copied, but the code above can");
  }
  button.dataset.clipboardText = list[button.dataset.copied.split("#")[1]];
  if (late) again(button);
// Before the theme, which copies that text.
}, true);

// What is around the page on a phone has the colour of its header.
const tint = document.head.appendChild(document.createElement("meta"));
tint.name = "theme-color";
const dye = () => { tint.content = getComputedStyle(document.querySelector(".md-header")).backgroundColor; };
new MutationObserver(dye).observe(document.body, { attributeFilter: ["data-md-color-scheme"] });
addEventListener("load", dye);

// What is wider than its place can be scrolled by keyboard, and shows that there is more.
const places = document.querySelectorAll(".md-typeset :is(.table, pre > code)");
const hidden = (place) => place.scrollLeft + place.clientWidth < place.scrollWidth - 8;
const more = (place, is = hidden(place)) => place.toggleAttribute("data-more", is);
const widths = new ResizeObserver((changes) => {
  // all are measured before one is changed, after which the page would be laid out again for the next
  const found = changes.map(({ target }) => [target, target.scrollWidth > target.clientWidth, hidden(target)]);
  for (const [target, wide, is] of found) {
    const marks = target.tagName === "CODE" ? { tabindex: "0" } : { tabindex: "0", role: "group", "aria-label": "Table" };
    for (const [name, value] of Object.entries(marks))
      if (wide) target.setAttribute(name, value);
      else target.removeAttribute(name);
    more(target, is);
  }
});
// A face that comes late makes tables wider, and none larger; code has the system's own.
document.fonts.addEventListener("loadingdone", () => {
  for (const table of document.querySelectorAll(".md-typeset .table")) {
    widths.unobserve(table);
    widths.observe(table);
  }
});
for (const place of places) {
  widths.observe(place);
  place.addEventListener("scroll", () => more(place), { passive: true });
}

// Live code: nothing of it is loaded before somebody asks.
const own = document.currentScript?.src;
const opens = (button, open) => button?.addEventListener("click", () => {
  button.disabled = true;
  import(new URL("live.js", own).href).then(open).catch((problem) => {
    // To try again.
    button.disabled = false;
    outOfReach(button, "no editor could be loaded");
    throw problem;
  });
});
const modules = document.querySelector(".live");
opens(modules?.querySelector("button"), ({ open }) => open(modules));
for (const button of document.querySelectorAll(".snippet-run"))
  if (modules) opens(button, ({ openBelow }) => openBelow(button, modules));
  else button.remove();

// Forms, which stand without JavaScript as far as they can: the capacity planner's, the home page's question, and the one that
// reads a reader's own files. And an address that is not there: what is like it; and what looks for words in a long list.
for (const [selector, file] of [["form.planner", "planner"], ["form.home-question", "home"], ["form.ask", "ask"], [".lost", "lost"], [".filter", "filter"]]) {
  const form = document.querySelector(selector);
  if (!form) continue;
  import(new URL(`${file}.js`, own).href).then(({ open }) => {
    open(form);
    answers?.(form);
  }).catch((problem) => {
    const button = form.querySelector("[type=submit], select");
    if (button) outOfReach(button, "this form cannot answer; load the page again");
    // Its link still leads on.
    if (button?.type !== "submit") answers?.(form);
    form.querySelector("[aria-busy]")?.removeAttribute("aria-busy");
    throw problem;
  });
}

// Sliders: nothing of them is loaded before one comes near the view.
const near = new IntersectionObserver((changes) => {
  for (const { isIntersecting, target } of changes)
    if (isIntersecting) {
      near.unobserve(target);
      import(new URL("slider.js", own).href).then(({ open }) => open(target)).then(() => answers?.(target)).catch((problem) => {
        // The figure stands in its place.
        target.classList.add("is-missing");
        target.querySelector("output").textContent = `This cannot move: ${problem.message}`;
        throw problem;
      });
    }
}, { rootMargin: "50% 0px" });
for (const place of document.querySelectorAll(".slider")) near.observe(place);
answers?.("page");
