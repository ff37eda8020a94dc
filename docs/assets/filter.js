// A field above the long list of a reference page: what has all of its words stays, with the headings that still have something.
export function open(place) {
  const lists = [...place.parentElement.querySelectorAll(".filter ~ ul, .filter ~ .linked > .table")];
  const entries = lists.flatMap((list) => [...list.querySelectorAll(":scope > li, tbody > tr")]).map((one) => [one, one.textContent.toLowerCase()]);
  place.innerHTML = '<input type="search" aria-label="Find in this list" placeholder="Find in this list" autocomplete="off" spellcheck="false"> <span role="status"></span>';
  const [field, status] = place.querySelectorAll("input, span");
  const show = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const [one, text] of entries) {
      one.hidden = !words.every((word) => text.includes(word));
      count += !one.hidden;
    }
    for (const list of lists) {
      const heading = list.previousElementSibling;
      list.hidden = !list.querySelector(":scope > li:not([hidden]), tbody > tr:not([hidden])");
      if (heading?.matches("h2")) heading.hidden = list.hidden;
    }
    status.textContent = words.length ? `${count || "None"} of ${entries.length}` : "";
  };
  field.addEventListener("input", show);
  addEventListener("hashchange", () => { // a link to what may be hidden
    field.value = "";
    show();
  });
}
