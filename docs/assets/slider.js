// What moves on a page: sliders and steppers, whose numbers were computed when it was built (builder/sliders.py).
// Loaded when one comes into view. Each kind of panel draws itself once for a run and moves with the clock.
function svg(tag, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

const title = ({ label, unit }) => (unit ? `${label} [${unit}]` : label);
const tick = (value) => value.toLocaleString("en", { maximumSignificantDigits: 4 });

// A value in a sentence, as builder/slider_sentences.py writes it.
function told(value, { unit, decimals }) {
  const least = 10 ** -decimals;
  const small = value > 0 && value < least / 2;
  const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  const text = (small ? least : value).toLocaleString("en", digits).replace("-", "−");
  return `${small ? "less than " : ""}${text}${unit && unit !== "%" ? " " : ""}${unit}`;
}

// From a value on an axis to pixels, and back to the axis for what lies beyond.
function scale({ log, range }, from, to) {
  const f = log ? Math.log : (value) => value;
  const [low, high] = range.map(f);
  return (value) => from + ((f(value) - low) / (high - low)) * (to - from);
}
const within = ({ range: [low, high] }, value) => low <= value && value <= high;
const clamped = ({ range: [low, high] }, value) => Math.min(Math.max(value, low), high);

// Round values on an axis, about `most` of them.
function ticks({ log, range: [low, high] }, most) {
  const found = [];
  if (log) {
    const decades = Math.log10(high / low);
    const factors = decades * 3 <= most ? [1, 2, 5] : [1];
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

const CLIP_S = 12; // how long a clip takes to play
const CLEARLY_S = 1; // between two jumps where less motion is wanted
const JUMPS = 12; // of such a clip

// An empty picture that fills its place, or none where it is not laid out.
function board(plot) {
  const [width, height] = [plot.clientWidth, plot.clientHeight];
  if (!width) return null;
  const image = svg("svg", { width, height, role: "img" });
  plot.replaceChildren(image); // labels are measured as they are added
  const add = (tag, attributes, text) => image.appendChild(svg(tag, attributes, text));
  return { image, add, width, height };
}

const square = (x, y, width, height = width) => `M${x.toFixed(1)} ${y.toFixed(1)}h${width.toFixed(1)}v${height.toFixed(1)}h${(-width).toFixed(1)}z`;
const marks = (image, all) => { for (const [name, value] of Object.entries(all)) image.setAttribute(name, value); };

// Engines: who waits as dots, the places as a grid, cache and budget as bars.
function engine(plot, panel, world) {
  const picture = board(plot);
  if (!picture) return null;
  const names = panel.engines.length ? panel.engines : [""];
  const columns = names.length === 1 ? 1 : Math.min(names.length, Math.max(2, Math.floor(picture.width / 170)));
  const [wide, high] = [picture.width / columns, picture.height / Math.ceil(names.length / columns)];
  const each = names.map((name, i) => oneEngine(picture, panel, world, name, i, {
    x: (i % columns) * wide, y: Math.floor(i / columns) * high, width: wide - (columns > 1 ? 10 : 0), height: high,
  }));
  return () => picture.image.setAttribute("aria-label", each.map((move) => move()).join("; "));
}

function oneEngine({ add }, panel, world, name, which, { x, y, width, height }) {
  const many = panel.engines.length || 1;
  const at = (part, frame) => world.at(panel[part], frame, many, which);
  const most = Math.max(...world.each((frame) => at("places", frame)));
  const of = panel.of ?? "places";
  const waits = (frame) => (panel.waiting ? at("waiting", frame) : 0);
  const lines = Math.max(...world.each(waits));
  const bars = ["cache", "budget"].filter((part) => panel[part]);
  const small = many > 1;
  const left = x + (!panel.waiting && !bars.length ? 0 : small ? 44 : 62);
  const top = y + (name || panel.label ? 36 : 20);
  const bottom = y + height - 22 * bars.length - 6;
  // As many columns as make the largest cells, whole rows preferred.
  const [room, depth] = [x + width - left, bottom - top];
  const size = (c) => Math.min(room / c, depth / Math.ceil(most / c), 40);
  const columns = Array.from({ length: most }, (_, c) => c + 1).reduce((best, c) => {
    const worth = (k) => size(k) * (most % k ? 0.7 : 1);
    return worth(c) > worth(best) ? c : best;
  }, 1);
  const cell = size(columns);
  const gap = Math.min(4, Math.max(1, cell * 0.16));
  const cells = (from, to) => {
    let d = "";
    for (let k = from; k < to; k += 1) d += square(left + 1 + (k % columns) * cell, top + 1 + Math.floor(k / columns) * cell, cell - gap - 2);
    return d;
  };
  const title = [panel.label, name].filter(Boolean).join(" ");
  if (title) add("text", { class: "title", x, y: y + 13 }, title);
  const head = { y: top - 7 };
  const inside = add("text", { ...head, x: left });
  const outside = add("text", { ...head, x: left - 10, "text-anchor": "end" });
  const filled = Object.fromEntries(["free", "answer", "prompt"].map((state) => [state, add("path", { class: `place state-${state}` })]));
  const dots = add("path", { class: "state-waits dots" });
  const pitch = small ? 8 : 12;
  const tall = bars.length ? Math.ceil(most / columns) * cell : depth; // above the bars, where there are any
  const rows = Math.max(1, Math.floor((tall + 2) / pitch));
  const shown = Math.min(lines, rows * Math.floor((left - x - 8) / pitch));
  const meters = bars.map((part, i) => {
    const base = top + Math.ceil(most / columns) * cell + 16 + 22 * i;
    add("text", { x: left - 10, y: base, "text-anchor": "end" }, part);
    const long = Math.min(room, columns * cell - gap) - 40;
    add("path", { class: "place state-free", d: square(left, base - 9, long, 9) });
    return [part, long, base, add("path", { class: `meter of-${part}` }), add("text", { x: left + long + 6, y: base })];
  });
  return () => {
    const [places, running, waiting] = [at("places"), at("running"), waits()];
    const prompts = panel.prompts ? at("prompts") : 0;
    filled.answer.setAttribute("d", cells(0, running - prompts));
    filled.prompt.setAttribute("d", cells(running - prompts, running));
    filled.free.setAttribute("d", cells(running, places));
    let d = "";
    for (let k = 0; k < Math.min(waiting, shown); k += 1) {
      const [dx, dy] = [left - 10 - pitch / 2 - Math.floor(k / rows) * pitch, top + pitch / 2 + (k % rows) * pitch];
      d += `M${dx} ${dy}h0`;
    }
    dots.setAttribute("d", d);
    dots.setAttribute("stroke-width", pitch * 0.72);
    inside.textContent = !places ? "not there" : small ? `${running} of ${places}` : `${running} of ${places} ${of}`;
    outside.textContent = !panel.waiting ? "" : small ? waiting || "" : `${waiting} wait`;
    for (const [part, long, base, path, text] of meters) {
      path.setAttribute("d", square(left, base - 9, long * at(part), 9));
      text.textContent = `${Math.round(100 * at(part))}%`;
    }
    const shares = bars.map((part) => `, ${part} ${Math.round(100 * at(part))}%`).join("");
    const line = panel.waiting ? `, ${waiting} wait` : "";
    return `${title ? `${title}: ` : ""}${running} of ${places} ${of} taken${line}${shares}`;
  };
}

// Lanes: what was is solid, what comes is faint, a line is now.
const THICK = { waits: 0.4, idle: 0.4, starts: 0.7, broken: 0.7 };
function lanes(plot, panel, world) {
  const picture = board(plot);
  if (!picture) return null;
  const { image, add, width, height } = picture;
  const { clock } = world;
  const [first, last] = [clock.values[0], clock.values.at(-1)];
  const axis = { ...clock, range: [first, last], log: false };
  const left = 12 + 7.3 * Math.max(...panel.lanes.map((name) => name.length));
  const below = plot.nextElementSibling; // lanes right below share their axis
  const shared = below?.classList.contains("of-lanes") && below.offsetTop > plot.offsetTop;
  const [right, top, bottom] = [width - 8, 22, height - (shared ? 4 : 38)];
  const across = scale(axis, left, right);
  const high = (bottom - top) / panel.lanes.length;
  add("text", { class: "title", x: 0, y: 13 }, panel.label);
  const skipped = Math.ceil(13 / high); // lanes to a name, so that names do not overlap
  panel.lanes.forEach((name, i) => {
    if (i % skipped === 0) add("text", { x: left - 7, y: top + (i + 0.5) * high + 4, "text-anchor": "end" }, name);
  });
  for (const value of ticks(axis, (right - left) / 60)) {
    add("path", { class: "grid", d: `M${across(value)} ${top}V${bottom + (shared ? 0 : 5)}` });
    if (!shared) add("text", { x: across(value), y: bottom + 18, "text-anchor": "middle" }, tick(value));
  }
  if (!shared) add("text", { class: "title", x: (left + right) / 2, y: height - 5, "text-anchor": "middle" }, title(clock));
  add("path", { class: "axis", d: `M${left} ${top}V${bottom}H${right}` });
  const past = svg("rect", { x: left, y: 0, height });
  add("clipPath", { id: `${plot.id}-past` }).append(past);
  const bars = panel.bars[world.run()];
  const groups = [add("g", { class: "future" }), add("g", { "clip-path": `url(#${plot.id}-past)` })];
  for (const state of new Set(bars.map((bar) => bar[3]))) {
    const thick = Math.min(high * 0.74, 18) * (THICK[state] ?? 1);
    const one = ([lane, start, end]) => square(across(start), top + (lane + 0.5) * high - thick / 2, Math.max(across(end) - across(start) - 1, 1), thick);
    const d = bars.filter((bar) => bar[3] === state).map(one).join("");
    for (const group of groups) group.append(svg("path", { class: `bar state-${state}`, d }));
  }
  const cursor = add("path", { class: "cursor" });
  const texts = bars.filter((bar) => bar[4]).map(([lane, , end, , words]) => {
    const text = add("text", { class: "label now", x: across(end) + 4, y: top + (lane + 0.5) * high + 4 }, words);
    const beyond = across(end) + 4 + text.getComputedTextLength() > width;
    if (beyond) marks(text, { x: across(end) - 5, "text-anchor": "end" });
    return [end, text];
  });
  image.setAttribute("aria-label", `${panel.label}, ${panel.lanes.length} lanes against ${title(clock)}`);
  const move = () => {
    const px = across(world.now());
    past.setAttribute("width", Math.max(px - left, 0));
    cursor.setAttribute("d", `M${px} ${top}V${bottom}`);
    for (const [end, text] of texts) text.style.display = end <= world.now() + 1e-9 ? "" : "none";
  };
  return Object.assign(move, { across });
}

// A plane with axes, on which lines and labels are put.
function plane(plot, x, y) {
  const picture = board(plot);
  if (!picture) return null;
  const { image, add, width, height } = picture;
  const heights = ticks(y, height / 55);
  const left = 14 + 6.5 * Math.max(...heights.map((value) => tick(value).length));
  const [right, top, bottom] = [width - 12, 30, height - 40];
  const up = scale(y, bottom, top);
  const across = scale(x, left, right);
  image.setAttribute("aria-label", `${title(y)} against ${title(x)}`);
  const inside = `${plot.id}-inside`;
  add("clipPath", { id: inside }).append(svg("rect", { x: left, y: top - 1, width: right - left + 1, height: bottom - top + 2 }));

  for (const value of heights) {
    add("path", { class: "grid", d: `M${left} ${up(value)}H${right}` });
    add("text", { x: left - 7, y: up(value) + 4, "text-anchor": "end" }, tick(value));
  }
  for (const value of ticks(x, (right - left) / 60)) {
    add("path", { class: "grid", d: `M${across(value)} ${bottom}v5` });
    add("text", { x: across(value), y: bottom + 18, "text-anchor": "middle" }, tick(value));
  }
  add("path", { class: "axis", d: `M${left} ${top}V${bottom}H${right}` });
  add("text", { class: "title", x: (left + right) / 2, y: height - 5, "text-anchor": "middle" }, title(x));
  add("text", { class: "title", x: 2, y: 13 }, title(y));

  const drawn = []; // what labels should not cover: points of the lines, at most 5 pixels apart
  const line = (className, found, clip = inside) => {
    const far = (value) => Math.min(Math.max(value, -1e4), 1e4);
    const path = found.map(([a, b]) => [far(across(a)), far(up(b))]);
    const d = path.map(([px, py]) => `${px.toFixed(1)} ${py.toFixed(1)}`).join("L");
    if (d) add("path", { class: className, "clip-path": `url(#${clip})`, d: `M${d}` });
    path.forEach(([bx, by], i) => {
      const [ax, ay] = path[Math.max(i - 1, 0)];
      const steps = Math.min(Math.ceil(Math.hypot(bx - ax, by - ay) / 5), 200);
      for (let k = 0; k <= steps; k += 1) drawn.push([ax + ((bx - ax) * k) / (steps || 1), ay + ((by - ay) * k) / (steps || 1)]);
    });
  };

  // A label goes where it covers little, `most` points, to an early one of its places: [x, y, share of its width left of x].
  const taken = [];
  const label = (className, text, places, most = Infinity) => {
    const words = add("text", { class: `label ${className}` }, text);
    const long = words.getComputedTextLength() + 3;
    let best = null;
    places.forEach(([px, py, share], i) => {
      const from = Math.min(Math.max(px - share * long, left + 2), width - long);
      const base = Math.min(Math.max(py, top + 12), bottom - 4);
      const box = [from, base - 12, from + long, base + 3];
      if (taken.some(([a, b, c, d]) => box[0] < c && box[2] > a && box[1] < d && box[3] > b)) return;
      const covered = drawn.filter(([a, b]) => a > box[0] && a < box[2] && b > box[1] && b < box[3]).length;
      const cost = covered + (10 * i) / places.length;
      if (covered <= most && (!best || cost < best.cost)) best = { cost, from, base, box };
    });
    if (!best) return words.remove();
    taken.push(best.box);
    marks(words, { x: best.from, y: best.base });
  };
  const name = (className, text, found, most) => {
    const seen = found.filter(([a, b]) => within(x, a) && within(y, b)).map(([a, b]) => [across(a), up(b)]);
    const every = Math.ceil(seen.length / 40);
    const some = seen.reverse().filter((_, i) => i % every === 0);
    label(className, text, some.flatMap(([px, py]) => [[px - 6, py - 7, 1], [px + 6, py - 7, 0], [px + 6, py + 16, 0], [px - 6, py + 16, 1]]), most);
  };
  const limits = () => {
    if (x.limit) {
      const px = across(x.limit.at);
      add("path", { class: "limit", d: `M${px} ${top}V${bottom}` });
      label("of-limit", x.limit.label, [[px - 5, top + 12, 1], [px + 5, top + 12, 0]]);
    }
    if (y.limit) {
      const py = up(y.limit.at);
      add("path", { class: "limit", d: `M${left} ${py}H${right}` });
      label("of-limit", y.limit.label, [[left + 6, py - 5, 0], [left + 6, py + 15, 0]]);
    }
  };
  return { add, up, across, left, right, top, bottom, drawn, line, label, name, limits };
}

const hue = ({ state }, i) => ({ answer: 0, prompt: 1, waits: 2, broken: 3 })[state] ?? i;

// Curves along the first control, with a point where it stands.
function load(plot, panel, world) {
  const { x, y, curves } = panel;
  const { controls, sizes } = world;
  const p = plane(plot, x, y);
  if (!p) return null;
  const setting = world.setting();
  const [places, points] = along(panel, world);
  const texts = controls[1]?.texts ?? [];
  const others = texts.map((text, i) => [text, points(curves[0], [0, i, ...setting.slice(2)]), i]).filter(([, , i]) => i !== setting[1]);
  for (const [, found] of others) p.line("ghost", found);
  curves.forEach((curve, i) => p.line(`curve curve-${hue(curve, i)}`, points(curve, setting)));
  p.limits();
  const here = places(setting)[setting[0]];
  curves.forEach((curve, i) => {
    const value = world.at(curve.values);
    if (here === null) return;
    const px = p.across(clamped(x, here));
    if (value === null) {
      p.add("path", { class: "drop", d: `M${px} ${p.top}V${p.bottom}` });
      return;
    }
    const py = p.up(clamped(y, value));
    p.add("path", { class: "drop", d: `M${p.left} ${py}H${px}V${p.bottom}` });
    p.add("circle", { class: `point curve-${hue(curve, i)}`, cx: px, cy: py, r: 5.5 });
    p.drawn.push(...Array(12).fill([px, py])); // worse to cover than a line
    p.label("now", told(value, { ...curve, unit: "" }), [[px - 9, py - 9, 1], [px + 9, py + 19, 0], [px + 9, py - 9, 0], [px - 9, py + 19, 1]]);
  });
  const alone = curves.length === 1 && sizes.length > 1;
  curves.forEach((curve, i) => p.name(`of-${hue(curve, i)}`, alone ? texts[setting[1]] : curve.label, points(curve, setting)));
  for (const [text, found, i] of others) if (i === 0 || i === sizes[1] - 1) p.name("", text, found, 4);
  return Object.assign(() => {}, { across: p.across });
}

// Where the curves of a load lie: places on the axis, and their points, for a setting of the other controls.
function along({ x }, world) {
  const values = (all, [, ...others]) =>
    Array.from({ length: world.sizes[0] }, (_, i) => (all.length === world.sizes[0] ? all[i] : all[world.index([i, ...others])]));
  const points = (curve, setting) =>
    values(curve.values, setting).map((value, i) => [values(x.values, setting)[i], value]).filter(([a, b]) => a !== null && b !== null);
  return [(setting) => values(x.values, setting), points];
}

// Curves against the clock, as far as it has come.
function curves(plot, panel, world) {
  const { clock } = world;
  const x = { ...clock, log: false, range: [clock.values[0], clock.values.at(-1)] };
  const p = plane(plot, x, panel.y);
  if (!p) return null;
  const past = svg("rect", { x: p.left, y: p.top - 1, height: p.bottom - p.top + 2 });
  p.add("clipPath", { id: `${plot.id}-past` }).append(past);
  const all = panel.curves.map((curve) => world.each((frame) => [clock.values[frame], world.at(curve.values, frame)]));
  const there = (points) => points.filter(([, value]) => value !== null);
  panel.curves.forEach((curve, i) => p.line(`curve curve-${hue(curve, i)}`, there(all[i]), `${plot.id}-past`));
  p.limits();
  if (all.length > 1) panel.curves.forEach((curve, i) => p.name(`of-${hue(curve, i)}`, curve.label, there(all[i])));
  const points = panel.curves.map((curve, i) => [
    p.add("circle", { class: `point curve-${hue(curve, i)}`, r: 5 }), p.add("text", { class: "label now" }),
  ]);
  const move = () => {
    const px = p.across(world.now());
    past.setAttribute("width", Math.max(px - p.left, 0));
    panel.curves.forEach((curve, i) => {
      const [circle, text] = points[i];
      const [value, next] = [world.at(curve.values), world.at(curve.values, Math.min(world.frame() + 1, world.frames - 1))];
      for (const one of points[i]) one.style.display = value === null ? "none" : "";
      if (value === null) return;
      const py = p.up(clamped(panel.y, next === null ? value : value + (next - value) * world.beyond()));
      marks(circle, { cx: px, cy: py });
      text.textContent = told(value, { ...curve, unit: "" });
      const late = px > p.left + 50;
      marks(text, { x: px + (late ? -9 : 9), y: Math.max(py - 9, p.top + 12), "text-anchor": late ? "end" : "start" });
    });
  };
  return Object.assign(move, { across: p.across });
}

const DRAW = { engine, lanes, curves, load };

export async function open(place) {
  const plots = [...place.querySelectorAll(".slider-plot")];
  const inputs = [...place.querySelectorAll("input, select")];
  const output = place.querySelector(".slider-reading");
  const sentence = output.firstElementChild;
  let data;
  try {
    const answer = await fetch(place.dataset.grid);
    if (!answer.ok) throw new Error(answer.status);
    data = await answer.json();
  } catch (problem) {
    sentence.textContent = `The numbers could not be loaded: ${problem.message}`;
    place.classList.add("is-missing"); // the figure stands in its place
    return;
  }
  const { controls, clock, panels, readouts } = data;
  const timer = clock && inputs.shift();
  let position = clock ? clock.start : 0; // a frame, and how far on the way to the next one

  // What the panels ask for: the numbers of the run and of the frame that are shown.
  const sizes = controls.map(({ texts }) => texts.length);
  const runs = sizes.reduce((all, size) => all * size, 1);
  const index = (setting) => setting.reduce((before, i, k) => before * sizes[k] + i, 0);
  const setting = () => inputs.map((input) => Number(input.value));
  const frames = clock ? clock.values.length : 1;
  const frame = () => Math.min(Math.floor(position), frames - 1);
  const beyond = () => position - frame();
  const world = {
    clock, controls, sizes, index, setting, frames, frame, beyond,
    run: () => index(setting()),
    now: () => clock.values[frame()] + beyond() * ((clock.values[frame() + 1] ?? clock.values.at(-1)) - clock.values[frame()]),
    each: (f) => Array.from({ length: frames }, (_, i) => f(i)),
    at(values, of = frame(), many = 1, which = 0) {
      if (values.length === 1 || values.length === runs) return values[values.length === 1 ? 0 : world.run()];
      return values[(world.run() * frames + of) * many + which];
    },
  };

  let moves = [];
  function draw() { // for another run, or another size
    moves = panels.map((panel, i) => DRAW[panel.kind](plots[i], panel, world) ?? (() => {}));
    move();
  }
  function move() {
    for (const one of moves) one();
  }

  let said = "";
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
    said = (there ? data.reading : data.absent).replace(/\{([^{}]*)\}/g, (_, named) => words.get(named));
    if (sentence.textContent !== said) sentence.textContent = said;
  }

  const update = () => {
    draw();
    say();
  };
  for (const input of inputs) input.addEventListener("input", update);

  // Pointing at a plot moves the first control, or the clock, to the nearest place.
  plots.forEach((plot, i) => {
    plot.id = `${place.id}-panel-${i}`;
    const panel = panels[i];
    if (panel.kind === "engine") return;
    const point = (event) => {
      const aim = event.clientX - plot.getBoundingClientRect().left;
      const values = panel.kind === "load" ? along(panel, world)[0](setting()) : clock.values;
      const far = values.map((value) => (value === null ? Infinity : Math.abs(moves[i].across(value) - aim)));
      const nearest = far.indexOf(Math.min(...far));
      if (panel.kind !== "load") return go(nearest);
      inputs[0].value = String(nearest);
      update();
    };
    plot.addEventListener("pointerdown", (event) => {
      plot.setPointerCapture(event.pointerId);
      point(event);
    });
    plot.addEventListener("pointermove", (event) => {
      if (plot.hasPointerCapture(event.pointerId)) point(event);
    });
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
    move();
    say();
  }
  function pause() {
    if (!playing) return;
    cancelAnimationFrame(playing);
    playing = 0;
    buttons[0].textContent = "Play";
    position = frame();
    output.removeAttribute("aria-live"); // a screen reader hears where it stopped, and nothing before
    sentence.textContent = "";
    move();
    say();
  }
  function play() {
    if (!touched || frame() === frames - 1) position = 0;
    touched = true;
    buttons[0].textContent = "Pause";
    output.setAttribute("aria-live", "off");
    move();
    say();
    let [before, waited] = [performance.now(), 0];
    const next = (time) => {
      const passed = Math.min(Math.max(time - before, 0), 100) / 1000; // a tab in the background stands still
      before = time;
      waited += passed;
      if (!calm.matches) position += (passed / CLIP_S) * (frames - 1);
      else if (waited >= CLEARLY_S) {
        position = frame() + Math.ceil((frames - 1) / JUMPS);
        waited = 0;
      }
      position = Math.min(position, frames - 1);
      move();
      say();
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
    new IntersectionObserver((seen) => { if (!seen.at(-1).isIntersecting) pause(); }).observe(place);
  }

  update();
  const sized = new ResizeObserver(draw);
  for (const plot of plots) sized.observe(plot);
}
