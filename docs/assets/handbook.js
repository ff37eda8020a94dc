// Long code blocks start folded, with a button to show the rest. Without JavaScript they are simply open.
const LINES_OPEN = 26;

const long = [...document.querySelectorAll(".md-typeset .snippet")]
  .map((block) => [block, block.querySelector("pre")?.textContent.trimEnd().split("\n").length ?? 0])
  .filter(([, lines]) => lines > LINES_OPEN + 6);
for (const [block, lines] of long) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "snippet-fold";
  const set = (folded) => {
    block.classList.toggle("is-folded", folded);
    button.setAttribute("aria-expanded", String(!folded));
    button.textContent = folded ? `Show all ${lines} lines` : "Show less";
  };
  button.addEventListener("click", () => {
    const folding = !block.classList.contains("is-folded");
    set(folding);
    if (folding) block.scrollIntoView({ block: "nearest" });
  });
  block.append(button);
  set(true);
}

// A copy button holds what the page does not show; the rest is in the page's code: "§block.place".
const BETWEEN = "\n\n\n";
document.addEventListener("click", ({ target }) => {
  const button = target.closest(".snippet-copy[data-copied]");
  if (!button) return;
  const shown = [...document.querySelectorAll(".snippet code")].map((code) => code.textContent.trimEnd().split(BETWEEN));
  const whole = (part) => {
    const [, block, place] = /^§(\d+)\.(\d+)$/.exec(part) ?? [];
    return block ? shown[block][place] : part;
  };
  button.dataset.clipboardText = `${button.dataset.copied.split(BETWEEN).map(whole).join(BETWEEN)}\n`;
}, true); // before the theme, which copies that text

// The theme adds a navigation landmark to every code block; each gets a name of its own.
let named = 0;
new MutationObserver((changes) => {
  for (const { addedNodes } of changes)
    for (const node of addedNodes)
      if (node.nodeType === Node.ELEMENT_NODE && node.matches("nav.md-code__nav"))
        node.setAttribute("aria-label", `Code block ${++named}`);
}).observe(document.body, { childList: true, subtree: true });

// Live code: nothing of it is loaded before somebody asks.
const own = document.currentScript?.src;
for (const place of document.querySelectorAll(".live"))
  place.querySelector("button")?.addEventListener("click", async ({ target }) => {
    target.disabled = true;
    const { open } = await import(new URL("live.js", own).href);
    open(place);
  });

// The capacity planner's form, which stays hidden without JavaScript.
const form = document.querySelector("form.planner");
if (form) import(new URL("planner.js", own).href).then(({ open }) => open(form));

// Sliders: nothing of them is loaded before one comes near the view.
const near = new IntersectionObserver((changes) => {
  for (const { isIntersecting, target } of changes)
    if (isIntersecting) {
      near.unobserve(target);
      import(new URL("slider.js", own).href).then(({ open }) => open(target));
    }
}, { rootMargin: "50% 0px" });
for (const place of document.querySelectorAll(".slider")) near.observe(place);
