{ // The colours of a page before it is drawn, and their switch; in the page, for the theme's own comes too late.
  const inputs = [...document.getElementsByName("__palette")]; // the first follows the system
  const light = matchMedia("(prefers-color-scheme: light)");
  let chosen = inputs[__md_get("__palette")?.index] ?? inputs[0];
  const show = () => {
    const { body } = document;
    const from = chosen === inputs[0] ? inputs[light.matches ? 1 : 2] : chosen;
    body.dataset.mdColorScheme = from.dataset.mdColorScheme;
    for (const input of inputs) input.nextElementSibling.hidden = input !== chosen;
    chosen.checked = true;
  };
  const change = () => {
    document.body.dataset.mdColorSwitching = ""; // holds transitions still
    show();
    setTimeout(() => delete document.body.dataset.mdColorSwitching);
  };
  const choose = (input) => {
    chosen = input;
    change();
    __md_set("__palette", { index: inputs.indexOf(chosen) });
  };
  for (const input of inputs) {
    input.addEventListener("change", () => choose(input));
    input.addEventListener("keydown", ({ key }) => {
      if (key !== "Enter") return;
      choose(inputs[(inputs.indexOf(chosen) + 1) % inputs.length]);
      chosen.focus();
    });
  }
  light.addEventListener("change", change);
  show();
}
