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

// A value in a sentence, as builder/readings.py writes it.
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
  const long = (text, of = "label") => {
    const words = add("text", { class: of }, text);
    const length = words.getComputedTextLength();
    words.remove();
    return length;
  };
  return { image, add, long, width, height };
}

const square = (x, y, width, height = width) => `M${x.toFixed(1)} ${y.toFixed(1)}h${width.toFixed(1)}v${height.toFixed(1)}h${(-width).toFixed(1)}z`;
// Whose prompt is read is two rails, so that it differs by more than its colour.
const rails = (x, y, width, height = width) => square(x, y, width, height * 0.38) + square(x, y + height * 0.62, width, height * 0.38);
const marks = (image, all) => { for (const [name, value] of Object.entries(all)) image.setAttribute(name, value); };

// Engines: who waits as dots, the places as a grid, cache and budget as bars.
function engine(plot, panel, world) {
  const picture = board(plot);
  if (!picture) return null;
  const names = panel.engines.length ? panel.engines : [""];
  const share = (columns) => [picture.width / columns, (picture.height * columns) / names.length];
  const whole = names.map((_, i) => i + 1).filter((columns) => names.length % columns === 0 && (columns === 1 || share(columns)[0] > 90));
  const cell = (columns) => packed(256, share(columns)[0] - 54, share(columns)[1] - 36)[1];
  const columns = whole.findLast((one) => cell(one) > 0.8 * Math.max(...whole.map(cell))); // beside each other, where cells are as large
  const [wide, high] = share(columns);
  const each = names.map((name, i) => oneEngine(picture, panel, world, name, i, {
    x: (i % columns) * wide, y: Math.floor(i / columns) * high, width: wide - (columns > 1 ? 10 : 0), height: high,
  }));
  return () => picture.image.setAttribute("aria-label", each.map((move) => move()).join("; "));
}

// How many columns make the largest cells, whole rows preferred, and how large these are.
function packed(most, room, depth) {
  const size = (c) => Math.min(room / c, depth / Math.ceil(most / c), 60);
  const worth = (c) => size(c) * (most % c ? 0.7 : 1);
  const columns = Array.from({ length: most }, (_, c) => c + 1).reduce((best, c) => (worth(c) > worth(best) ? c : best), 1);
  return [columns, size(columns)];
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
  const top = y + (name || panel.label ? 34 : 20);
  const [room, depth] = [x + width - left, y + height - 22 * bars.length - 4 - top];
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
  const head = { y: top - 7 };
  const inside = add("text", { ...head, x: left });
  const outside = add("text", { ...head, x: left - 10, "text-anchor": "end" });
  const filled = Object.fromEntries(["free", "answer", "prompt"].map((state) => [state, add("path", { class: `bar state-${state}` })]));
  const pegs = add("path", { class: "meter" });
  const dots = add("path", { class: "state-waits dots" });
  const pitch = small ? 8 : 12;
  const tall = bars.length ? Math.ceil(most / columns) * cell : depth; // above the bars, where there are any
  const rows = Math.max(1, Math.floor((tall + 2) / pitch));
  const shown = Math.min(lines, rows * Math.floor((left - x - 8) / pitch));
  const meters = bars.map((part, i) => {
    const base = top + Math.ceil(most / columns) * cell + 14 + 22 * i;
    add("text", { x: left - 10, y: base, "text-anchor": "end" }, part);
    const long = room - 40;
    const meter = add("path", { class: `meter of-${part}` });
    add("path", { class: "axis", d: square(left, base - 9, long, 9) });
    return [part, long, base, meter, add("text", { x: left + long + 6, y: base })];
  });
  return () => {
    const [places, running, waiting] = [at("places"), at("running"), waits()];
    const prompts = panel.prompts ? at("prompts") : 0;
    filled.answer.setAttribute("d", cells(0, running - prompts, square));
    filled.prompt.setAttribute("d", cells(running - prompts, running, rails));
    filled.free.setAttribute("d", cells(running, places, square));
    pegs.setAttribute("d", cells(running, places, square, (side - peg) / 2));
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
const SHAPE = { // states differ by their shape, too
  prompt: rails,
  idle: (x, y, width, height) => square(x + 0.7, y + 0.7, Math.max(width - 1.4, 0.1), height - 1.4),
  starts: (x, y, width, height) => Array.from({ length: Math.ceil(width / 4) }, (_, i) => square(x + 4 * i, y, Math.min(2, width - 4 * i), height)).join(""),
};
SHAPE.cached = SHAPE.idle;
function lanes(plot, panel, world) {
  const picture = board(plot);
  if (!picture) return null;
  const { image, add, long, width, height } = picture;
  const { clock } = world;
  const [first, last] = [clock.values[0], clock.values.at(-1)];
  const axis = { ...clock, range: [first, last], log: false };
  const left = 10 + Math.max(...panel.lanes.map((name) => long(name)));
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
    const shape = SHAPE[state] ?? square;
    const one = ([lane, start, end]) => shape(across(start), top + (lane + 0.5) * high - thick / 2, Math.max(across(end) - across(start) - 1, 1), thick);
    const d = bars.filter((bar) => bar[3] === state).map(one).join("");
    for (const group of groups) group.append(svg("path", { class: `bar state-${state}`, d }));
  }
  const cursor = add("path", { class: "cursor" });
  const texts = bars.filter((bar) => bar[4]).map(([lane, , end, , words]) => {
    const text = add("text", { class: "label now", x: across(end) + 4, y: top + (lane + 0.5) * high + 4 }, words);
    const beyond = across(end) + 4 + text.getComputedTextLength();
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

// What stands at the ends of lines, in one column: pushed apart as little as may be, all of it between top and bottom.
function apart(ends, top, bottom) {
  const groups = [];
  for (const end of [...ends].sort((a, b) => a.y - b.y || a.x - b.x)) {
    let group = { ends: [end], tall: end.tall, wish: end.y - end.tall / 2 };
    for (;;) {
      group.at = Math.max(Math.min(group.wish, bottom - group.tall), top);
      const above = groups.at(-1);
      if (!above || above.at + above.tall <= group.at) break;
      groups.pop();
      const [n, m] = [above.ends.length, group.ends.length];
      const wish = (above.wish * n + (group.wish - above.tall) * m) / (n + m);
      group = { ends: [...above.ends, ...group.ends], tall: above.tall + group.tall, wish };
    }
    groups.push(group);
  }
  for (const group of groups)
    for (const end of group.ends) {
      end.at = group.at;
      group.at += end.tall;
    }
}

// A name in two lines of about the same length, where it is long.
function halves(name) {
  const words = name.split(" ");
  if (name.length < 15 || words.length < 2) return [name];
  const cuts = words.slice(1).map((_, i) => [words.slice(0, i + 1).join(" "), words.slice(i + 1).join(" ")]);
  const longer = ([a, b]) => Math.max(a.length, b.length);
  return cuts.reduce((best, cut) => (longer(cut) < longer(best) ? cut : best));
}

// A plane with axes, and at its right a column for what stands at the ends of its lines: kind, name, the longest value.
const LINE = 13;
function plane(plot, x, y, named) {
  const picture = board(plot);
  if (!picture) return null;
  const { image, add, long, width, height } = picture;
  const [top, bottom] = [26, height - 36];
  const heights = ticks(y, (bottom - top) / 30);
  const left = 10 + Math.max(...heights.map((value) => long(tick(value))));
  const limit = y.limit && { kind: "of-limit", name: y.limit.label };
  let ends = limit ? [...named, limit] : named;
  const lines = (split) => ends.map(({ name, value }) => [...(value ? [value] : []), ...(name ? split(name) : [])]);
  const fits = (all) => all.reduce((sum, one) => sum + LINE * one.length + 2, 0) <= bottom - top + 12;
  if (!fits(lines((name) => [name]))) ends = ends.filter(({ kind }) => kind !== "of-ghost");
  const folded = width < 420 && fits(lines(halves)) ? halves : (name) => [name];
  lines(folded).forEach((all, i) => Object.assign(ends[i], { lines: all }));
  const right = width - 12 - Math.max(0, ...ends.flatMap((end) => end.lines.map((text) => long(text, `label ${end.value === text ? "now" : end.kind}`))));
  const up = scale(y, bottom, top);
  const across = scale(x, left, right);
  image.setAttribute("aria-label", `${title(y)} against ${title(x)}`);
  const inside = `${plot.id}-inside`;
  add("clipPath", { id: inside }).append(svg("rect", { x: left, y: top - 1, width: right - left + 1, height: bottom - top + 2 }));

  for (const value of heights) {
    add("path", { class: "grid", d: `M${left} ${up(value)}H${right}` });
    add("text", { x: left - 7, y: up(value) + 4, "text-anchor": "end" }, tick(value));
  }
  for (const value of ticks(x, (right - left) / 42)) {
    add("path", { class: "grid", d: `M${across(value)} ${bottom}v5` });
    add("text", { x: across(value), y: bottom + 17, "text-anchor": "middle" }, tick(value));
  }
  add("path", { class: "axis", d: `M${left} ${top}V${bottom}H${right}` });
  add("text", { class: "title", x: (left + right) / 2, y: height - 4, "text-anchor": "middle" }, title(x));
  add("text", { class: "title", x: 2, y: 13 }, title(y));
  if (limit) {
    Object.assign(limit, { x: right, y: up(y.limit.at) });
    add("path", { class: "limit", d: `M${left} ${limit.y}H${right}` });
  }

  // A line, of which points at most 5 pixels apart are kept, which values should not cover. Its place for a name is where it
  // ends or leaves the plane, or before that, where it is apart from the lines before it; none where it never is.
  const [drawn, paths] = [[], []];
  const line = (className, found, clip = inside) => {
    const far = (value) => Math.min(Math.max(value, -1e4), 1e4);
    const path = found.map(([a, b]) => [far(across(a)), far(up(b))]);
    const d = path.map(([px, py]) => `${px.toFixed(1)} ${py.toFixed(1)}`).join("L");
    if (d) image[className === "ghost" ? "prepend" : "append"](svg("path", { class: className, "clip-path": `url(#${clip})`, d: `M${d}` }));
    path.forEach(([bx, by], i) => {
      const [ax, ay] = path[Math.max(i - 1, 0)];
      const steps = Math.min(Math.ceil(Math.hypot(bx - ax, by - ay) / 5), 200);
      for (let k = 0; k <= steps; k += 1) drawn.push([ax + ((bx - ax) * k) / (steps || 1), ay + ((by - ay) * k) / (steps || 1)]);
    });
    const apart = ([px, py]) => paths.every((other) => other.every(([a, b]) => a !== px || Math.abs(b - py) > 6));
    const seen = path.findLastIndex(([, py]) => py > top - 1 && py < bottom + 1);
    const last = path.findLastIndex((point, i) => i <= seen && apart(point) && point[0] > (left + right) / 2);
    if (last < 0) return className === "ghost" || seen < 0 ? {} : { x: path[seen][0], y: path[seen][1] };
    paths.push(path);
    const [[ax, ay], [bx, by]] = [path[last], (last === seen && path[last + 1]) || path[last]];
    const edge = Math.min(Math.max(by, top), bottom);
    return { x: by === ay ? bx : ax + ((bx - ax) * (edge - ay)) / (by - ay), y: edge };
  };

  // A value beside its point, where it covers little, and no other value.
  const taken = [];
  const value = (px, py, text) => {
    drawn.push(...Array(12).fill([px, py])); // worse to cover than a line
    const wide = long(text, "label now") + 3;
    const places = [-9, 19, -24, 34].flatMap((dy) => [[px - 9 - wide, py + dy], [px + 9, py + dy]]);
    const boxes = places.map(([from, base]) => [Math.min(Math.max(from, left + 2), right - wide), Math.min(Math.max(base, top + 12), bottom - 4)]);
    const costs = boxes.map(([from, base], i) => {
      const hit = ([a, b]) => a > from && a < from + wide && b > base - 12 && b < base + 3;
      const over = taken.some(([a, b, c]) => from < a + c && from + wide > a && Math.abs(b - base) < 15);
      return drawn.filter(hit).length + i + (over ? 1000 : 0);
    });
    const [from, base] = boxes[costs.indexOf(Math.min(...costs))];
    taken.push([from, base, wide]);
    add("text", { class: "label now", x: from, y: base }, text);
  };

  // The labels at the ends: made once, and put where the ends are now.
  const tag = (end) => {
    const spans = end.lines.map((text) => svg("tspan", { x: 0, dy: LINE, class: text === end.value ? "now" : "" }, text));
    const [leader, words] = [add("path", { class: "leader" }), add("text", { class: `label ${end.kind}` })];
    words.append(...spans);
    Object.assign(end, { leader, words, spans, tall: LINE * spans.length + 2 });
  };
  const arrange = () => {
    for (const end of ends) if (!end.words) tag(end);
    const there = ends.filter((end) => end.x !== undefined);
    apart(there, top - 6, bottom + 3);
    for (const end of ends) for (const one of [end.leader, end.words]) one.style.display = end.x === undefined ? "none" : "";
    for (const { x: ex, y: ey, at, tall, leader, words, spans, now, from = right } of there) {
      const middle = at + tall / 2;
      if (now) spans[0].textContent = now;
      words.setAttribute("transform", `translate(${(from + 8).toFixed(1)} ${(at - 1).toFixed(1)})`);
      leader.setAttribute("d", Math.hypot(from - ex, middle - ey) > 7 ? `M${ex} ${ey}L${from + 6} ${middle}` : "");
    }
  };
  return { add, up, across, left, right, top, bottom, line, value, arrange };
}

const hue = ({ state }, i) => ({ answer: 0, prompt: 1, waits: 2, broken: 3 })[state] ?? i;

// Curves along the first control, with a point where it stands.
function load(plot, panel, world) {
  const { x, y, curves } = panel;
  const { controls, sizes } = world;
  const setting = world.setting();
  const [places, points] = along(panel, world);
  const texts = controls[1]?.texts ?? [];
  const alone = curves.length === 1;
  const main = curves.map((curve, i) => ({ kind: `of-${hue(curve, i)}`, name: !alone ? curve.label : texts[setting[1]], curve, i }));
  const others = texts.map((name, i) => ({ kind: "of-ghost", name, i })).filter(({ i }) => i !== setting[1]);
  const p = plane(plot, x, y, [...main, ...others]);
  if (!p) return null;
  for (const end of main) Object.assign(end, p.line(`curve curve-${hue(end.curve, end.i)}`, points(end.curve, setting)));
  for (const end of others) Object.assign(end, p.line("ghost", points(curves[0], [0, end.i, ...setting.slice(2)])));
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
    p.value(px, py, told(value, { ...curve, unit: "" }));
  });
  p.arrange();
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

// Curves against the clock, as far as it has come; the name and the value go with the end.
function curves(plot, panel, world) {
  const { clock } = world;
  const x = { ...clock, log: false, range: [clock.values[0], clock.values.at(-1)] };
  const plain = (value, curve) => told(value, { ...curve, unit: "" });
  const all = panel.curves.map((curve) => world.each((frame) => [clock.values[frame], world.at(curve.values, frame)]).filter(([, value]) => value !== null));
  const ends = panel.curves.map((curve, i) => {
    const values = all[i].map(([, value]) => plain(value, curve));
    const longest = values.reduce((a, b) => (b.length > a.length ? b : a), "–");
    return { kind: `of-${hue(curve, i)}`, name: panel.curves.length > 1 ? curve.label : "", value: longest };
  });
  const p = plane(plot, x, panel.y, ends);
  if (!p) return null;
  const past = svg("rect", { x: p.left, y: p.top - 1, height: p.bottom - p.top + 2 });
  p.add("clipPath", { id: `${plot.id}-past` }).append(past);
  panel.curves.forEach((curve, i) => p.line(`curve curve-${hue(curve, i)}`, all[i], `${plot.id}-past`));
  const points = panel.curves.map((curve, i) => p.add("circle", { class: `point curve-${hue(curve, i)}`, r: 5 }));
  const move = () => {
    const px = p.across(world.now());
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
