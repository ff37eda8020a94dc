// What moves on a page: sliders, whose numbers were computed when it was built (builder/sliders.py).
// Loaded when one comes into view. Each kind of panel draws itself once for a run and moves with the clock.
function svg(tag, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

const title = ({ label, unit }) => (unit ? `${label} [${unit}]` : label);
const { format: tick } = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const written = []; // by decimals: making one takes a hundred times as long as using it

// A value in a sentence, as `told` of builder/directives.py writes it.
function told(value, { unit, decimals }) {
  const least = 10 ** -decimals;
  const small = value > 0 && value < least / 2;
  const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  written[decimals] ??= new Intl.NumberFormat("en", digits);
  const text = written[decimals].format(small ? least : value).replace("-", "−");
  return `${small ? "less than " : ""}${text}${unit && unit !== "%" ? " " : ""}${unit}`;
}

// "1 requests" in a sentence that was made for any number, as `one_of_many` of support/digits.py mends it.
const oneOfMany = (sentence) => sentence.replace(/(?<![\w.,])1 ((?:more )?(?!times|brings|sends)[a-z]{2,}[^\Wius])s\b/g, "1 $1");

// From a value on an axis to pixels, and back to the axis for what lies beyond.
function scale({ log, range }, from, to) {
  const f = log ? Math.log : (value) => value;
  const [low, high] = range.map(f);
  return (value) => from + ((f(value) - low) / (high - low)) * (to - from);
}
const clamped = ({ range: [low, high] }, value) => Math.min(Math.max(value, low), high);

// Round values on an axis, about `most` of them.
function ticks({ log, range: [low, high] }, most) {
  const found = [];
  if (log) {
    const decades = Math.log10(high / low);
    const factors = [[1, 2, 5], [1, 3]].find((some) => decades * some.length <= most) ?? [1];
    const every = Math.ceil(decades / most);
    for (let k = Math.floor(Math.log10(low)); 10 ** k <= high; k += 1)
      if (k % every === 0) found.push(...factors.map((factor) => factor * 10 ** k));
  } else {
    const ten = 10 ** Math.floor(Math.log10((high - low) / most));
    const step = ten * [1, 2, 5, 10].find((factor) => factor * ten * most >= high - low);
    for (let k = Math.ceil(low / step); k * step <= high + step / 1e6; k += 1) found.push(k * step);
  }
  return found.filter((value) => value > low - (high - low) / 1e6 && value < high * 1.000001);
}

const CLIP_S = 12; // how long a clip takes to play, where less motion is wanted in jumps of a second

// Pixels to a unit of a picture: letters are as large as the reader wants those of the page, while there is room for a drawing.
const LETTERS = 20; // pixels of the page's unit, with letters as they come
function unit(plot) {
  const wanted = Number.parseFloat(getComputedStyle(document.documentElement).fontSize) / LETTERS;
  const least = plot.matches(".of-cells") ? 340 : 250; // units that a drawing needs
  return Math.max(1, Math.min(wanted, plot.clientWidth / least));
}

// An empty picture that fills its place.
function board(plot) {
  const larger = unit(plot);
  const [width, height] = [plot.clientWidth, plot.clientHeight].map((pixels) => pixels / larger);
  const image = svg("svg", { width: plot.clientWidth, height: plot.clientHeight, viewBox: `0 0 ${width} ${height}`, role: "img" });
  plot.replaceChildren(image); // labels are measured as they are added
  const add = (tag, attributes, text) => image.appendChild(svg(tag, attributes, text));
  const long = (texts, of = () => "label") => { // all at once, since the first that is measured lays the page out
    const words = texts.map((text, i) => add("text", { class: of(text, i) }, text));
    const lengths = words.map((one) => one.getComputedTextLength());
    for (const one of words) one.remove();
    return lengths;
  };
  const head = (text, x = 0, y = 13, middle = false) => { // a title, which is no wider than the picture
    const words = add("text", { class: "title", x, y, "text-anchor": middle ? "middle" : "start" }, text);
    if (larger === 1 && width > 360) return; // nor is it but on a phone
    const [needs, room] = [words.getComputedTextLength(), middle ? width : width - x];
    if (needs > room) words.style.fontSize = `${(11.8 * room) / needs}px`;
    const half = Math.min(needs, room) / 2;
    if (middle) marks(words, { x: Math.min(Math.max(x, half), width - half) });
  };
  return { image, add, long, head, width, height };
}

const square = (x, y, width, height = width) => `M${x.toFixed(1)} ${y.toFixed(1)}h${width.toFixed(1)}v${height.toFixed(1)}h${(-width).toFixed(1)}z`;
// Whose prompt is read is two rails, so that it differs by more than its colour.
const rails = (x, y, width, height = width) => square(x, y, width, height * 0.38) + square(x, y + height * 0.62, width, height * 0.38);
const marks = (image, all) => { for (const [name, value] of Object.entries(all)) image.setAttribute(name, value); };

// How many columns make the largest cells, whole rows preferred, and how large these are.
function packed(most, room, depth) {
  const size = (c) => Math.min(room / c, depth / Math.ceil(most / c), 60);
  const worth = (c) => size(c) * (most % c ? 0.7 : 1);
  const columns = Array.from({ length: most }, (_, c) => c + 1).reduce((best, c) => (worth(c) > worth(best) ? c : best), 1);
  return [columns, size(columns)];
}

// Engines: who waits as dots, the places as a grid; beside each other where cells are as large so.
function engine(plot, panel, world) {
  const picture = board(plot);
  const names = panel.engines.length ? panel.engines : [""];
  const share = (columns) => [picture.width / columns, (picture.height * columns) / names.length];
  const cell = (columns) => packed(256, share(columns)[0] - 54, share(columns)[1] - 36)[1];
  const whole = names.map((_, i) => i + 1).filter((columns) => columns === 1 || (names.length % columns === 0 && share(columns)[0] > 90));
  const columns = whole.findLast((one) => cell(one) > 0.8 * Math.max(...whole.map(cell)));
  const [width, height] = share(columns);
  const each = names.map((name, i) => oneEngine(picture, panel, world, name, i, {
    x: (i % columns) * width, y: Math.floor(i / columns) * height, width: width - (columns > 1 ? 10 : 0), height,
  }));
  return () => picture.image.setAttribute("aria-label", each.map((move) => move()).join("; "));
}

function oneEngine({ add }, panel, world, name, which, { x, y, width, height }) {
  const many = panel.engines.length || 1;
  const at = (part, frame) => (panel[part] ? world.at(panel[part], frame, many, which) : 0);
  const most = Math.max(...world.each((frame) => at("places", frame)));
  const longest = Math.max(...world.each((frame) => at("waiting", frame)));
  const { of = "places" } = panel;
  const small = many > 1;
  const left = x + (!panel.waiting ? 0 : small ? 44 : 62);
  const top = y + (name || panel.label ? 34 : 20);
  const [room, depth] = [x + width - left, y + height - 4 - top];
  const [columns, cell] = packed(most, room, depth);
  const side = cell - Math.min(4, Math.max(1, cell * 0.16));
  const peg = Math.max(1.4, side * 0.2);
  const cells = (from, to, draw, inset = 0) => {
    let d = "";
    for (let k = from; k < to; k += 1) d += draw(left + (k % columns) * cell + inset, top + Math.floor(k / columns) * cell + inset, side - 2 * inset);
    return d;
  };
  const title = [panel.label, name].filter(Boolean).join(" ");
  if (title) add("text", { class: "title", x, y: y + 13 }, title);
  const inside = add("text", { x: left, y: top - 7 });
  const outside = add("text", { x: left - 10, y: top - 7, "text-anchor": "end" });
  const [free, answer, prompt] = ["free", "answer", "prompt"].map((state) => add("path", { class: `bar state-${state}` }));
  const pegs = add("path", { class: "meter" });
  const pitch = small ? 8 : 12;
  const dots = add("path", { class: "state-waits dots", "stroke-width": pitch * 0.72 });
  const rows = Math.max(1, Math.floor((depth + 2) / pitch));
  const shown = Math.min(longest, rows * Math.floor((left - x - 8) / pitch));
  return () => {
    const [places, running, waiting, prompts] = ["places", "running", "waiting", "prompts"].map((part) => at(part));
    answer.setAttribute("d", cells(0, running - prompts, square));
    prompt.setAttribute("d", cells(running - prompts, running, rails));
    free.setAttribute("d", cells(running, places, square));
    pegs.setAttribute("d", cells(running, places, square, (side - peg) / 2));
    let d = "";
    for (let k = 0; k < Math.min(waiting, shown); k += 1)
      d += `M${left - 10 - (Math.floor(k / rows) + 0.5) * pitch} ${top + ((k % rows) + 0.5) * pitch}h0`;
    dots.setAttribute("d", d);
    inside.textContent = !places ? "not there" : `${running} of ${places}${small ? "" : ` ${of}`}`;
    outside.textContent = !panel.waiting ? "" : small ? waiting || "" : `${waiting} wait`;
    return `${title && `${title}: `}${running} of ${places} ${of} taken${panel.waiting ? `, ${waiting} wait` : ""}`;
  };
}

// What happens while the clock runs, such as a stop: a band from its start to its end, behind what is drawn after it.
function events(add, { clock, run }, across, top, bottom) {
  for (const [start, end] of clock.events?.[run()] ?? [])
    add("path", { class: "event", d: square(across(start) - 0.5, top, across(end) - across(start) + 1, bottom - top) });
}

// Lanes: what was is solid, what comes is faint, a line is now.
const THICK = { waits: 0.4, idle: 0.4, starts: 0.7, broken: 0.7 };
const SHAPE = { // states differ by their shape, too
  prompt: rails,
  idle: (x, y, width, height) => square(x + 0.7, y + 0.7, Math.max(width - 1.4, 0.1), height - 1.4),
  starts: (x, y, width, height) => Array.from({ length: Math.ceil(width / 4) }, (_, i) => square(x + 4 * i, y, Math.min(2, width - 4 * i), height)).join(""),
};
SHAPE.cached = SHAPE.idle;

// Where an axis begins and ends: panels above each other, of which the clock is the axis, leave as much at their sides.
function sides(plot, left, right) {
  plot.needs = [left, right];
  const [from, to] = plot.common ?? plot.needs;
  return (plot.used = [Math.max(left, from), Math.min(right, to)]);
}

// The lanes right below a picture, which share its axis.
const lanesBelow = ({ offsetTop, nextElementSibling: next }) => next?.classList.contains("of-lanes") && next.offsetTop > offsetTop;

// Rows with names above one axis, and how bars are drawn in them. room: what is kept free at the right.
function rows(plot, panel, world, axis, { room = 8, shared = false, most = 18 }) {
  const picture = board(plot);
  const { add, long, head, width, height } = picture;
  const [left, right] = sides(plot, 10 + Math.max(...long(world.lanes)), width - room); // the same in all, whose axes are one
  const [top, bottom] = [22, height - (shared ? 4 : 38)];
  const across = scale(axis, left, right);
  const high = (bottom - top) / panel.lanes.length;
  head(panel.label);
  const skipped = Math.ceil(13 / high); // rows to a name, so that names do not overlap
  panel.lanes.forEach((name, i) => {
    if (i % skipped === 0) add("text", { x: left - 7, y: top + (i + 0.5) * high + 4, "text-anchor": "end" }, name);
  });
  for (const value of ticks(axis, (right - left) / 60)) {
    add("path", { class: "grid", d: `M${across(value)} ${top}V${bottom + (shared ? 0 : 5)}` });
    if (!shared) add("text", { x: across(value), y: bottom + 18, "text-anchor": "middle" }, tick(value));
  }
  if (!shared) head(title(axis), (left + right) / 2, height - 5, true);
  add("path", { class: "axis", d: `M${left} ${top}V${bottom}H${right}` });
  const middle = (lane) => top + (lane + 0.5) * high;
  const draw = (group, bars) => {
    for (const state of new Set(bars.map((bar) => bar[3]))) {
      const thick = Math.min(high * 0.74, most) * (THICK[state] ?? 1);
      const shape = SHAPE[state] ?? square;
      const one = ([lane, start, end]) => shape(across(start), middle(lane) - thick / 2, Math.max(across(end) - across(start) - 1, 1), thick);
      group.append(svg("path", { class: `bar state-${state}`, d: bars.filter((bar) => bar[3] === state).map(one).join("") }));
    }
  };
  return { ...picture, across, left, right, top, bottom, middle, draw };
}

function lanes(plot, panel, world) {
  const { clock } = world;
  const shared = lanesBelow(plot);
  const p = rows(plot, panel, world, clock, { shared });
  const { image, add, long, width, across, left, right, top, bottom } = p;
  events(add, world, across, top, bottom);
  const past = svg("rect", { x: left, y: 0, height: p.height });
  add("clipPath", { id: `${plot.id}-past` }).append(past);
  const bars = panel.bars[world.run()];
  for (const group of [add("g", { class: "future" }), add("g", { "clip-path": `url(#${plot.id}-past)` })]) p.draw(group, bars);
  const cursor = add("path", { class: "cursor" });
  const told = bars.filter((bar) => bar[4]);
  const lengths = long(told.map((bar) => bar[4]), () => "label now");
  const texts = told.map(([lane, , end, , words], i) => {
    const text = add("text", { class: "label now", x: across(end) + 4, y: p.middle(lane) + 4 }, words);
    const beyond = across(end) + 4 + lengths[i];
    if (beyond > width) marks(text, { x: across(end) - 5, "text-anchor": "end" });
    return [Math.min(beyond + 2, right), text]; // it comes when the line of now is past it
  });
  image.setAttribute("aria-label", `${panel.label}, ${panel.lanes.length} lanes against ${title(clock)}`);
  const move = () => {
    const px = across(world.now());
    past.setAttribute("width", Math.max(px - left, 0));
    cursor.setAttribute("d", `M${px} ${top}V${bottom}`);
    for (const [beyond, text] of texts) text.style.display = px > beyond - 0.01 ? "" : "none";
  };
  return Object.assign(move, { across });
}

// Stacked bars on an axis of their own, which without a range holds those of all the first control's values; words stand at a
// row's end, and within a bar that others follow where there is room.
function bars(plot, panel, world) {
  const { x } = panel;
  const of = (frame = world.frame(), run = world.run()) => panel.bars[panel.bars.length > world.runs ? run * world.frames + frame : run];
  const words = [...new Set(panel.bars.flatMap((run) => run.map((bar) => bar[4] ?? "")))];
  const lengths = new Map(board(plot).long(words, () => "label now").map((length, i) => [words[i], length]));
  const along = Array.from({ length: world.sizes[0] ?? 1 }, (_, i) => world.index(world.setting().map((one, k) => (k ? one : i))));
  const ends = along.flatMap((run) => world.each((frame) => of(frame, run))).flatMap((all) => all.map((bar) => bar[2]));
  const p = rows(plot, panel, world, { ...x, range: x.range ?? [0, Math.max(...ends)] }, { room: 12 + Math.max(...lengths.values()), most: 30 });
  const group = p.add("g", {});
  return () => {
    const now = of();
    group.replaceChildren();
    p.draw(group, now);
    const said = panel.lanes.map((name, lane) => {
      const mine = now.filter((bar) => bar[0] === lane);
      const last = Math.max(...mine.map((bar) => bar[2]));
      for (const [, start, end, , text] of mine) {
        if (!text || (end < last && p.across(end) - p.across(start) < lengths.get(text) + 8)) continue;
        const place = end < last ? { x: (p.across(start) + p.across(end)) / 2, "text-anchor": "middle" } : { x: p.across(end) + 6 };
        group.append(svg("text", { class: "label now", y: p.middle(lane) + 4, ...place }, text));
      }
      return `${name}: ${mine.map((bar) => bar[4]).filter(Boolean).join(", ") || tick(mine.length ? last : 0)}`;
    });
    p.image.setAttribute("aria-label", `${panel.label}, against ${title(x)}. ${said.join("; ")}`);
  };
}

// A table of marks. A row or a column whose names are a control's is lit where that stands.
function cells(plot, panel, world) {
  const { image, add, long, head, width, height } = board(plot);
  const { columns } = panel;
  const lengths = long(columns);
  const beside = 12 + Math.max(...long(panel.rows, () => "now"));
  const above = (width - beside) / columns.length < 11; // names of rows, where those of columns would lie on each other
  const left = above ? 4 : beside;
  const pitch = (beyond) => Math.min((width - left - beyond) / columns.length, 34);
  const slant = pitch(0.71 * lengths.at(-1)) > 17 ? 0.71 : 1; // upright where there is no room to slant
  const wide = pitch(slant < 1 ? slant * lengths.at(-1) : 4);
  const top = 24 + slant * Math.max(...lengths);
  const high = Math.min((height - top - 2) / panel.rows.length, 34);
  const centre = (row, column) => [left + (column + 0.5) * wide, top + (row + 0.5) * high + (above ? 7 : 0)];
  const now = panel.cells[world.run()];
  head(panel.label);
  const [named, across] = [panel.rows, columns].map((names) => world.controls.findIndex(({ texts }) => texts.join() === names.join()));
  const [row, column] = [named, across].map((k) => world.setting()[k]);
  plot.onclick = ({ clientX, clientY }) => {
    const { x, y } = plot.getBoundingClientRect();
    world.put(named, Math.floor(((clientY - y) / unit(plot) - top) / high));
    world.put(across, Math.floor(((clientX - x) / unit(plot) - left) / wide));
  };
  if (row !== undefined) add("path", { class: "event", d: square(0, top + row * high, left + columns.length * wide, high) });
  if (column !== undefined) add("path", { class: "event", d: square(left + column * wide, top, wide, panel.rows.length * high) });
  panel.rows.forEach((name, i) => {
    const place = above ? { x: 0, y: top + i * high + 12 } : { x: left - 8, y: centre(i, 0)[1] + 4, "text-anchor": "end" };
    add("text", { class: i === row ? "now" : "", ...place }, name);
  });
  columns.forEach((name, i) => {
    add("text", { class: i === column ? "now" : "", transform: `translate(${centre(0, i)[0] + 4} ${top - 6}) rotate(${slant < 1 ? -45 : -90})` }, name);
  });
  const side = Math.min(wide, high - (above ? 14 : 0)) * 0.62;
  for (const state of new Set(now.flat())) {
    const [size, shape] = state === "free" ? [Math.min(side, 4), square] : [side, SHAPE[state] ?? square];
    const tall = size * (THICK[state] ?? 1);
    const d = now.flatMap((all, i) => all.map((one, k) => {
      const [cx, cy] = centre(i, k);
      return one === state && columns[k] ? shape(cx - size / 2, cy - tall / 2, size, tall) : "";
    }));
    add("path", { class: `bar state-${state}`, d: d.join("") });
  }
  const said = now[row] && columns.map((name, k) => name && `${name} ${world.words[now[row][k]]}`).filter(Boolean);
  image.setAttribute("aria-label", `${panel.label}, ${panel.rows.length} by ${columns.length}${said ? `. ${panel.rows[row]}: ${said.join(", ")}` : ""}`);
  return () => {};
}

// The axis at the bottom: ticks, and where they are told their values and its title.
function axisBelow({ add, head }, x, across, [left, right, bottom, height], told = true) {
  for (const value of ticks(x, (right - left) / 42)) {
    add("path", { class: "grid", d: `M${across(value)} ${bottom}v5` });
    if (told) add("text", { x: across(value), y: bottom + 17, "text-anchor": "middle" }, tick(value));
  }
  if (told) head(title(x), (left + right) / 2, height - 4, true);
}

// Dots stacked along the first control, those beyond where it stands broken; as large as the highest stacks of nine in ten
// settings let them be. Those of a higher one stand closer.
function dots(plot, panel, world) {
  const { x } = panel;
  const picture = board(plot);
  const { image, add, head, width, height } = picture;
  const [left, right, top, bottom] = [8, width - 8, 26, height - 36];
  const across = scale(x, left, right);
  const many = panel.dots.length / world.sizes.slice(1).reduce((all, size) => all * size, 1);
  const stacks = (from, size) => { // of a setting: by column, the values that stand there
    const columns = new Map();
    for (const value of panel.dots.slice(from, from + many)) {
      const column = Math.floor(across(clamped(x, value)) / size);
      columns.set(column, [...(columns.get(column) ?? []), value]);
    }
    return columns;
  };
  const settings = panel.dots.flatMap((_, i) => (i % many ? [] : i));
  const highest = (from, size) => Math.max(...[...stacks(from, size).values()].map((one) => one.length));
  const high = (size) => settings.map((from) => highest(from, size)).sort((a, b) => a - b)[Math.floor(0.9 * (settings.length - 1))];
  const sizes = Array.from({ length: 24 }, (_, i) => 14 - i / 2);
  if (plot.sized?.width !== width) plot.sized = { width, size: sizes.find((one) => high(one) * one <= bottom - top) ?? 2 };
  const { size } = plot.sized;
  const at = x.values[world.setting()[0]];
  head(panel.label);
  add("path", { class: "axis", d: `M${left} ${bottom}H${right}` });
  axisBelow(picture, x, across, [left, right, bottom, height]);
  const d = { answer: "", broken: "" };
  for (const [column, values] of stacks(many * world.index([0, ...world.setting().slice(1)]), size)) {
    const pitch = Math.min(size, (bottom - top) / values.length);
    values.sort((a, b) => a - b).forEach((value, i) => {
      d[value > at ? "broken" : "answer"] += `M${(column + 0.5) * size} ${(bottom - (i + 0.5) * pitch).toFixed(1)}h0`;
    });
  }
  for (const state of Object.keys(d)) add("path", { class: `dots state-${state}`, "stroke-width": size * 0.8, d: d[state] });
  add("path", { class: "cursor", d: `M${across(at)} ${top - 6}V${bottom}` });
  const beyond = d.broken.split("M").length - 1;
  image.setAttribute("aria-label", `${panel.label}, ${many} dots against ${title(x)}: ${beyond} beyond ${tick(at)}`);
  return Object.assign(() => {}, { across });
}

// What stands at the ends of lines, in one column: pushed apart as little as may be, all of it between top and bottom.
function apart(ends, top, bottom) {
  const all = [...ends].sort((a, b) => (Math.abs(a.y - b.y) < 4 && (a.mean ?? 0) - (b.mean ?? 0)) || a.y - b.y || a.x - b.x);
  for (const end of all) end.at = end.y - end.tall / 2;
  for (let turn = 0, moved = true; moved && turn < 300; turn += 1) {
    moved = false;
    for (const end of all) end.at = Math.min(Math.max(end.at, top), bottom - end.tall);
    all.slice(1).forEach((end, i) => {
      const over = all[i].at + all[i].tall - end.at;
      if (over < 0.1) return;
      moved = true;
      all[i].at -= over / 2;
      end.at += over / 2;
    });
  }
}

// A name in two lines, cut near its middle, where it is long.
function halves(name) {
  const off = (place) => Math.abs(place - name.length / 2);
  const [cut] = [...name.matchAll(/ /g)].map(({ index }) => index).sort((a, b) => off(a) - off(b));
  return name.length < 15 || !cut ? [name] : [name.slice(0, cut), name.slice(cut + 1)];
}

// A plane with axes, and at its right a column for what stands at the ends of its lines: kind, name, the longest value.
const LINE = 13;
function plane(plot, x, y, named, possible = [], lowest = true) {
  const picture = board(plot);
  const { image, add, long, head, width, height } = picture;
  const [top, bottom] = [x.events ? 38 : 26, height - (lowest ? 36 : 8)]; // what happens is told above, the axis by lanes below
  const heights = ticks(y, (bottom - top) / 30);
  let ends = y.limit ? [...named, { kind: "of-limit", name: y.limit.label }] : named;
  const lines = (split) => ends.map(({ name, value }) => [value, ...split(name)].filter(Boolean));
  const fit = (split) => lines(split).reduce((sum, one) => sum + LINE * one.length + 2, 0) <= bottom - top + 4;
  const whole = (name) => [name];
  for (const most of [1, 0]) if (!fit(whole)) ends = ends.filter(({ far = 0 }) => far <= most); // of the others the next ones, or none
  const split = width < 420 && fit(halves) ? halves : whole;
  lines(split).forEach((all, i) => Object.assign(ends[i], { lines: all }));
  const words = ends.flatMap((end) => end.lines.map((text) => [text, `label ${end.value === text ? "now" : end.kind}`]));
  words.push(...possible.flatMap(({ kind, name }) => split(name).map((text) => [text, `label ${kind}`]))); // the axes stay where they are at every setting
  const beside = Math.max(0, ...long(words.map(([text]) => text), (_, i) => words[i][1]));
  const [left, right] = sides(plot, 10 + Math.max(...long(heights.map(tick))), width - 12 - beside);
  const up = scale(y, bottom, top);
  const across = scale(x, left, right);
  const tell = (values) => { // to who cannot see it: each curve that has a value, and it
    const said = values.filter(([, value]) => value !== null).map(([curve, value]) => `${curve.label} ${told(value, curve)}`);
    image.setAttribute("aria-label", `${title(y)} against ${title(x)}: ${said.join(", ")}`);
  };
  const inside = `${plot.id}-inside`;
  add("clipPath", { id: inside }).append(svg("rect", { x: left, y: top - 1, width: right - left + 1, height: bottom - top + 2 }));

  for (const value of heights) {
    add("path", { class: "grid", d: `M${left} ${up(value)}H${right}` });
    add("text", { x: left - 7, y: up(value) + 4, "text-anchor": "end" }, tick(value));
  }
  axisBelow(picture, x, across, [left, right, bottom, height], lowest);
  add("path", { class: "axis", d: `M${left} ${top}V${bottom}H${right}` });
  head(title(y), 2);
  if (y.limit) {
    Object.assign(ends.at(-1), { x: right, y: up(y.limit.at) });
    add("path", { class: "limit", d: `M${left} ${up(y.limit.at)}H${right}` });
  }

  // A line, of which points at most 5 pixels apart are kept, which values should not cover. Its name stands where it ends, or
  // where it leaves through the frame.
  const [ground, drawn] = [add("g", {}), []];
  const line = (className, found, clip = inside) => {
    const far = (value) => Math.min(Math.max(value, -1e4), 1e4);
    const path = found.map(([a, b]) => [far(across(a)), far(up(b))]);
    const [d, faint] = [path.map(([px, py]) => `${px.toFixed(1)} ${py.toFixed(1)}`).join("L"), className === "ghost"];
    if (d) ground[faint ? "prepend" : "append"](svg("path", { class: className, "clip-path": `url(#${clip})`, d: `M${d}` }));
    path.forEach(([bx, by], i) => {
      const [ax, ay] = path[Math.max(i - 1, 0)];
      const steps = Math.min(Math.ceil(Math.hypot(bx - ax, by - ay) / 5), 200);
      for (let k = 0; k <= steps; k += faint ? 2 : 1) drawn.push([ax + ((bx - ax) * k) / (steps || 1), ay + ((by - ay) * k) / (steps || 1)]);
    });
    const last = path.findLastIndex(([, py]) => py > top - 1 && py < bottom + 1);
    if (last < 0) return null;
    const [[ax, ay], [bx, by]] = [path[last], path[last + 1] ?? path[last]];
    const edge = Math.min(Math.max(by, top), bottom);
    const ex = by === ay ? bx : ax + ((bx - ax) * (edge - ay)) / (by - ay);
    return { x: ex, y: by < top ? top - (right - ex) / 1e3 : edge, mean: path.reduce((sum, [, py]) => sum + Math.max(py, top), 0) / path.length };
  };

  // Values beside their points, the upper one first, where they cover little, and least of all a point or another value.
  const values = (all) => {
    for (const [px, py] of all) drawn.push(...Array(12).fill([px, py]));
    const words = all.map(([px, py, text, kind]) => [px, py, add("text", { class: `label now ${kind}` }, text)]);
    let [height, above] = [0, 0]; // of the point before, and where its value stands
    for (const [px, py, word] of words.sort((a, b) => a[1] - b[1])) {
      const wide = word.getComputedTextLength() + 3;
      const places = [-9, 19, -24, 34].flatMap((dy) => [[px - 9 - wide, py + dy], [px + 9, py + dy]]);
      const boxes = places.map(([from, base]) => [Math.min(Math.max(from, left + 2), right - wide), Math.min(Math.max(base, top + 12), bottom - 4)]);
      const covers = boxes.map(([from, base], i) => drawn.filter(([a, b]) => a > from && a < from + wide && b > base - 12 && b < base + 3).length + 2 * i + (i > 3 ? 8 : 0) + (base < above && py > height + 2 ? 60 : 0));
      const [from, base] = boxes[covers.indexOf(Math.min(...covers))];
      for (let k = 0; k < 300; k += 1) drawn.push([from - 6 + ((wide + 12) * (k % 30)) / 29, base - 16 + Math.floor(k / 30) * 2.5]);
      marks(word, { x: from, y: base });
      [height, above] = [py, base];
    }
  };

  // The labels at the ends, put where these are now, with leaders where they had to move.
  const arrange = () => {
    for (const end of ends)
      if (!end.words) {
        Object.assign(end, { leader: add("path", { class: "leader" }), words: add("text", { class: `label ${end.kind}` }), tall: LINE * end.lines.length + 2 });
        end.words.append(...end.lines.map((text) => svg("tspan", { x: 0, dy: LINE, class: text === end.value ? "now" : "" }, text)));
      }
    apart(ends.filter((end) => end.x), top - 6, bottom - 1); // on no axis
    for (const { x: ex, y: ey, at = 0, tall, leader, words, now, from = right } of ends) {
      const middle = at + tall / 2;
      if (now) words.firstChild.textContent = now;
      words.style.display = ex ? "" : "none";
      words.setAttribute("transform", `translate(${from + 8} ${at - 1})`);
      leader.setAttribute("d", ex && Math.hypot(from - ex, middle - ey) > 7 ? `M${ex} ${ey}L${from + 6} ${middle}` : "");
    }
  };
  return { tell, add, up, across, left, right, top, bottom, line, values, arrange, shown: (end) => ends.includes(end) };
}

const hue = ({ state }, i) => state ?? ["answer", "prompt"][i];

// Curves along the first control, with a point where it stands.
function load(plot, panel, world) {
  const { x, y, curves } = panel;
  const { controls, index } = world;
  const setting = world.setting();
  const points = (curve, at) => x.values.map((value, i) => [value, curve.values[index([i, ...at.slice(1)])]]).filter(([, value]) => value !== null);
  const texts = controls[1]?.texts ?? [];
  const main = curves.map((curve, i) => ({ kind: `of-${hue(curve, i)}`, name: curves.length > 1 ? curve.label : texts[setting[1]] ?? "", curve }));
  const others = texts.map((name, i) => ({ kind: "of-ghost", name, i, far: Math.abs(i - setting[1]) })).filter(({ far }) => far);
  const kind = curves.length > 1 ? "of-ghost" : main[0].kind; // of this control's value
  const p = plane(plot, x, y, [...main, ...others], texts.map((name) => ({ kind, name })));
  main.forEach((end, i) => Object.assign(end, p.line(`curve state-${hue(end.curve, i)}`, points(end.curve, setting))));
  for (const end of others.filter(p.shown)) Object.assign(end, p.line("ghost", points(curves[0], [0, end.i, ...setting.slice(2)])));
  const px = p.across(clamped(x, x.values[setting[0]]));
  const said = curves.flatMap((curve, i) => {
    const value = world.at(curve.values);
    const py = value === null ? p.top : p.up(clamped(y, value));
    const beyond = value !== null && value > y.range[1]; // an arrow through the frame, and no height on the axis
    p.add("path", { class: "drop", d: `M${value === null || beyond ? px : p.left} ${py}H${px}V${p.bottom}` });
    if (value === null) return [];
    const point = beyond ? ["path", { d: `M${px - 6.5} ${py + 6}L${px} ${py - 6}L${px + 6.5} ${py + 6}z` }] : ["circle", { cx: px, cy: py, r: 5.5 }];
    p.add(point[0], { class: `point state-${hue(curve, i)}`, ...point[1] });
    return [[px, py, `${told(value, { ...curve, unit: "" })}${beyond ? " ↑" : ""}`, curves.length > 1 ? main[i].kind : ""]];
  });
  p.values(said);
  p.tell(curves.map((curve) => [curve, world.at(curve.values)]));
  p.arrange();
  return Object.assign(() => {}, { across: p.across });
}

// Curves against the clock, as far as it has come; the name and the value go with the end.
function curves(plot, panel, world) {
  const { clock } = world;
  const plain = (value, curve) => told(value, { ...curve, unit: "" });
  const all = panel.curves.map((curve) => world.each((frame) => [clock.values[frame], world.at(curve.values, frame)]).filter(([, value]) => value !== null));
  const numbers = ({ values }) => [...new Set(values)].filter((value) => value !== null);
  const longest = (curve) => (curve.longest ??= numbers(curve).map((value) => plain(value, curve)).reduce((a, b) => (b.length > a.length ? b : a), "–")); // of all runs: the axes stay
  const ends = panel.curves.map((curve, i) => ({ kind: `of-${hue(curve, i)}`, name: panel.curves.length > 1 ? curve.label : "", value: longest(curve) }));
  const p = plane(plot, clock, panel.y, ends, [], !lanesBelow(plot));
  events(p.add, world, p.across, p.top, p.bottom);
  for (const [start, end, words] of clock.events?.[world.run()] ?? []) {
    const late = start + end > clock.range[0] + clock.range[1]; // its words stand where there is room: in it, or beside it
    const [x, anchor] = p.across(end) - p.across(start) > 80 ? [end, "end"] : late ? [start, "end"] : [end, "start"];
    p.add("text", { class: "event", x: p.across(x) + (anchor === "end" ? -5 : 5), y: p.top - 9, "text-anchor": anchor }, words);
  }
  const past = svg("rect", { x: p.left, y: p.top - 1, height: p.bottom - p.top + 2 });
  p.add("clipPath", { id: `${plot.id}-past` }).append(past);
  if (panel.shade) {
    const [upper, lower] = all.map((one) => one.map(([time, value]) => `${p.across(time)} ${p.up(value)}`));
    p.add("path", { class: "shade", "clip-path": `url(#${plot.id}-past)`, d: `M${[...upper, ...lower.reverse()].join("L")}z` });
  }
  panel.curves.forEach((curve, i) => p.line(`curve state-${hue(curve, i)}`, all[i], `${plot.id}-past`));
  const points = panel.curves.map((curve, i) => p.add("circle", { class: `point state-${hue(curve, i)}`, r: 5 }));
  const move = () => {
    const px = p.across(world.now());
    p.tell(panel.curves.map((curve) => [curve, world.at(curve.values)]));
    past.setAttribute("width", Math.max(px - p.left, 0));
    panel.curves.forEach((curve, i) => {
      const [value, next] = [world.at(curve.values), world.at(curve.values, Math.min(world.frame() + 1, world.frames - 1))];
      points[i].style.display = value === null ? "none" : "";
      ends[i].x = undefined;
      if (value === null) return;
      const py = p.up(clamped(panel.y, next === null ? value : value + (next - value) * world.beyond()));
      marks(points[i], { cx: px, cy: py });
      Object.assign(ends[i], { x: px, y: py, from: px, now: plain(value, curve) });
    });
    p.arrange();
  };
  return Object.assign(move, { across: p.across });
}

const DRAW = { engine, lanes, bars, cells, dots, curves, load };

export async function open(place) {
  const plots = [...place.querySelectorAll(".slider-plot")];
  const inputs = [...place.querySelectorAll("input, select")];
  const output = place.querySelector(".slider-reading");
  const sentence = output.firstElementChild;
  const figure = place.nextElementSibling?.querySelector("img"); // out of sight, and what it shows is still told
  if (figure) place.append(Object.assign(document.createElement("p"), { className: "visually-hidden", textContent: figure.alt }));
  const answer = await fetch(place.dataset.grid);
  if (!answer.ok) throw new Error(`the numbers could not be loaded: ${answer.status}`);
  const data = await answer.json();
  const { controls, clock, panels, readouts } = data;
  const timer = clock && inputs.shift();
  if (clock) Object.assign(clock, { log: false, range: [clock.values[0], clock.values.at(-1)] });
  let position = clock ? Number(timer.value) : 0; // a frame, and how far on the way to the next one

  // What the panels ask for: the numbers of the run and of the frame that are shown.
  const sizes = controls.map(({ texts }) => texts.length);
  const runs = sizes.reduce((all, size) => all * size, 1);
  const index = (setting) => setting.reduce((before, i, k) => before * sizes[k] + i, 0);
  const setting = () => inputs.map((input) => Number(input.value));
  const frames = clock ? clock.values.length : 1;
  const frame = () => Math.min(Math.floor(position), frames - 1);
  const beyond = () => position - frame();
  const world = {
    clock, controls, sizes, runs, index, setting, frames, frame, beyond, words: data.legend,
    lanes: panels.flatMap((panel) => panel.lanes ?? []),
    run: () => index(setting()),
    now: () => clock.values[frame()] + beyond() * ((clock.values[frame() + 1] ?? clock.values.at(-1)) - clock.values[frame()]),
    each: (f) => Array.from({ length: frames }, (_, i) => f(i)),
    at(values, of = frame(), many = 1, which = 0) {
      if (values.length === 1 || values.length === runs) return values[values.length === 1 ? 0 : world.run()];
      return values[(world.run() * frames + of) * many + which];
    },
  };

  const moves = panels.map(() => () => {});
  const move = () => moves.forEach((one) => one());
  const laidOut = () => plots.map((plot) => `${plot.clientWidth} ${plot.clientHeight}`).join();
  let drawn = ""; // for which sizes
  const one = (panel, i) => {
    if (plots[i].clientWidth) moves[i] = DRAW[panel.kind](plots[i], panel, world);
    moves[i]();
  };
  function align() {
    const timed = plots.filter((plot, i) => plot.needs && ["curves", "lanes"].includes(panels[i].kind));
    for (const plot of timed) {
      const [lefts, rights] = [0, 1].map((side) => timed.filter(({ offsetLeft }) => offsetLeft === plot.offsetLeft).map(({ needs }) => needs[side]));
      plot.common = [Math.max(...lefts), Math.min(...rights)];
      if (plot.common.join() !== plot.used.join()) one(panels[plots.indexOf(plot)], plots.indexOf(plot));
    }
  }
  function draw() { // for another run, or another size
    drawn = laidOut();
    panels.forEach(one);
    align();
  }
  function say() {
    const words = new Map();
    const tell = (input, text, label) => {
      if (input.type === "range") {
        input.setAttribute("aria-valuetext", text);
        input.previousElementSibling.textContent = text;
      }
      words.set(label, text);
    };
    inputs.forEach((input, i) => tell(input, controls[i].texts[Number(input.value)], controls[i].label));
    if (clock) {
      timer.value = String(frame());
      tell(timer, told(clock.values[frame()], clock), clock.label);
    }
    const parts = [...panels.flatMap((panel) => panel.curves ?? []), ...readouts].map((part) => [part, world.at(part.values)]);
    for (const [part, value] of parts) words.set(part.label, value === null ? "" : told(value, part));
    const there = parts.every(([, value]) => value !== null);
    const said = oneOfMany((there ? data.reading : data.absent).replace(/\{([^{}]*)\}/g, (_, named) => words.get(named)));
    if (sentence.textContent !== said) sentence.textContent = said;
  }

  const update = () => [draw, say].forEach((one) => one());
  world.put = (control, value) => { // as a touch of the picture does
    if (!inputs[control] || !(value in controls[control].texts)) return;
    inputs[control].value = String(value);
    update();
  };
  const show = () => [move, say].forEach((one) => one());
  for (const input of inputs) input.addEventListener("input", update);

  // Pointing at a plot moves the first control, or the clock, to the nearest place.
  plots.forEach((plot, i) => {
    plot.id = `${place.id}-panel-${i}`;
    const panel = panels[i];
    if (["engine", "bars", "cells"].includes(panel.kind)) return;
    const point = (event) => {
      const aim = (event.clientX - plot.getBoundingClientRect().left) / unit(plot);
      const far = (panel.x ?? clock).values.map((value) => Math.abs(moves[i].across(value) - aim));
      const nearest = far.indexOf(Math.min(...far));
      if (panel.x) world.put(0, nearest);
      else go(nearest);
    };
    plot.addEventListener("pointerdown", (event) => plot.setPointerCapture(event.pointerId));
    for (const kind of ["pointerdown", "pointermove"])
      plot.addEventListener(kind, (event) => plot.hasPointerCapture(event.pointerId) && point(event));
  });

  // The clock: one frame on or back, or all of them in a clip. Nothing plays unless somebody asks.
  const buttons = Object.fromEntries([...place.querySelectorAll("[data-step]")].map((one) => [one.dataset.step, one]));
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let playing = 0;
  let touched = false;
  function go(to) {
    pause();
    touched = true;
    position = Math.min(Math.max(to, 0), frames - 1);
    ready();
    show();
  }
  const ready = () => { buttons[0].textContent = !touched || frame() === frames - 1 ? "Play all" : "Play"; };
  function pause() {
    if (!playing) return;
    cancelAnimationFrame(playing);
    playing = 0;
    position = frame();
    output.removeAttribute("aria-live"); // a screen reader hears where it stopped, and nothing before
    sentence.textContent = "";
    ready();
    show();
  }
  function play() {
    if (!touched || frame() === frames - 1) position = 0;
    touched = true;
    buttons[0].textContent = "Pause";
    output.setAttribute("aria-live", "off");
    show();
    let [from, before, played] = [position, performance.now(), 0];
    const next = (time) => {
      played += Math.min(Math.max(time - before, 0), 100) / 1000; // a tab in the background stands still
      const shown = frame();
      before = time;
      const on = calm.matches ? Math.floor(played) * Math.ceil((frames - 1) / CLIP_S) : (played / CLIP_S) * (frames - 1);
      position = Math.min(from + on, frames - 1);
      move();
      if (frame() !== shown) say();
      if (position < frames - 1) playing = requestAnimationFrame(next);
      else pause();
    };
    playing = requestAnimationFrame(next);
  }
  if (clock) {
    timer.addEventListener("input", () => go(Number(timer.value)));
    buttons[-1].addEventListener("click", () => go(frame() - 1));
    buttons[1].addEventListener("click", () => go(frame() + 1));
    buttons[0].addEventListener("click", () => (playing ? pause() : play()));
    ready();
    new IntersectionObserver((seen) => { if (!seen.at(-1).isIntersecting) pause(); }).observe(place);
  }

  say();
  drawn = laidOut();
  for (const i of panels.keys()) {
    await new Promise((on) => setTimeout(on)); // a touch meanwhile waits for one panel, not for all
    one(panels[i], i);
  }
  align();
  const sized = new ResizeObserver(() => { if (laidOut() !== drawn) draw(); });
  for (const plot of plots) sized.observe(plot);
}
