// The page for addresses that are not there: names pages whose address is like it, and offers to search for its words.
const MOST = 3; // pages that are named
const LEAST = 0.5; // how alike they must be, and
const BESIDE = 0.85; // compared with the one that is most alike

const pairs = (text) => new Set(Array.from(text.slice(1), (letter, i) => text[i] + letter));

// Share of the pairs of letters that two texts have in common (Dice's coefficient).
function likeness(one, other) {
  const [a, b] = [pairs(one), pairs(other)];
  return (2 * [...a].filter((pair) => b.has(pair)).length) / (a.size + b.size || 1);
}

// An address as it reads; as it stands when it is no text, as "%zz" and "%ff" are not.
const read = (address) => {
  try {
    return decodeURIComponent(address);
  } catch {
    return address;
  }
};

const name = (path) => path.replace(/\/(index\.html)?$/, "").replace(/\.\w+$/, "").split("/").pop().toLowerCase().replaceAll("_", "-");

export function open(pages) {
  const asked = name(read(location.pathname));
  const near = [...pages.querySelectorAll("a")]
    .map((link) => [likeness(asked, name(link.pathname)), link])
    .filter(([alike]) => alike >= LEAST)
    .sort(([a], [b]) => b - a)
    .filter(([alike], _, [[best]]) => alike >= BESIDE * best)
    .slice(0, MOST);
  const told = document.querySelector(".lost-near");
  told.querySelector("span").append(...near.flatMap(([, link], i) => [i ? ", " : "", link.cloneNode(true)]), "?");
  told.hidden = !near.length;

  const place = document.querySelector(".lost-search");
  const query = document.querySelector("[data-md-component=search-query]");
  place.hidden = !query || !asked;
  place.querySelector("button").addEventListener("click", () => {
    query.value = asked.replaceAll("-", " ");
    document.querySelector("#__search").checked || document.querySelector("#__search").click();
    query.focus();
  });
}
