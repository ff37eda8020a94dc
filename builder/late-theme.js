{ // The theme's own script, a third of a page's weight, comes with the first sign of a reader. A click that needed it is
  // done again when it is there; the keys of the search work at once.
  const { from } = document.currentScript.previousElementSibling.dataset;
  const signs = ["pointermove", "pointerdown", "touchstart", "keydown", "wheel", "scroll", "focusin", "change", "click"];
  const waiting = [];
  let asked = false;
  const load = () => {
    if (asked) return;
    asked = true;
    const script = document.createElement("script");
    script.src = from;
    script.onload = () => {
      for (const sign of signs) removeEventListener(sign, heard, true);
      document.dispatchEvent(new Event("DOMContentLoaded")); // for which it waits
      for (const button of waiting) button.click();
    };
    script.onerror = () => { asked = false; script.remove(); };
    document.body.append(script);
  };
  const heard = (event) => {
    load();
    const { target, type, key } = event;
    const button = type === "click" && target.closest?.("[data-clipboard-target], [data-clipboard-text], [data-copied], .md-top");
    if (button) {
      event.preventDefault();
      event.stopImmediatePropagation();
      waiting.push(button);
    }
    const plain = type === "keydown" && !event.ctrlKey && !event.metaKey && !target.closest?.("input, textarea, select, [contenteditable]");
    if (plain && ["/", "f", "s"].includes(key)) {
      event.preventDefault();
      event.stopImmediatePropagation();
      document.getElementById("__search").checked = true;
      document.querySelector(".md-search__input").focus();
    }
  };
  for (const sign of signs) addEventListener(sign, heard, { capture: true, passive: !["click", "keydown"].includes(sign) });
  if (location.search || location.hash) load();
}
