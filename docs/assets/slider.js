// Curves over a grid that was computed when the page was built. Loaded when a slider comes into view.
const LABEL = 12; // size of a label in pixels

function svg(tag, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

function told(value, { unit, decimals }) {
  const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  const least = 10 ** -decimals;
  const small = value > 0 && value < least / 2;
  const text = (small ? least : value).toLocaleString("en", digits).replace("-", "−");
  return `${small ? "less than " : ""}${text}${unit === "%" ? "%" : unit && ` ${unit}`}`;
}

const title = ({ label, unit }) => (unit ? `${label} [${unit}]` : label);

function ticks({ log, range: [low, high] }, room) {
  if (!log) {
    const rough = (high - low) / Math.max(2, room);
    const ten = 10 ** Math.floor(Math.log10(rough));
    const step = ten * [1, 2, 5, 10].find((factor) => factor * ten >= rough);
    const first = Math.ceil(low / step - 1e-9);
    return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, i) => (first + i) * step);
  }
  const decades = Math.log10(high / low);
  const factors = decades * 3 <= room ? [1, 2, 5] : [1];
  const every = Math.max(1, Math.ceil(decades / room));
  const found = [];
  for (let k = Math.floor(Math.log10(low)); 10 ** k <= high * 1.000001; k += 1)
    if (k % every === 0) found.push(...factors.map((factor) => factor * 10 ** k));
  return found.filter((value) => value >= low * 0.999999 && value <= high * 1.000001);
}

function scale({ log, range }, from, to) {
  const f = log ? Math.log : (value) => value;
  const [low, high] = range.map(f);
  return (value) => from + ((f(Math.min(Math.max(value, range[0]), range[1])) - low) / (high - low)) * (to - from);
}

export async function open(place) {
  const plot = place.querySelector(".slider-plot");
  const inputs = [...place.querySelectorAll("input")];
  const reading = place.querySelector(".slider-reading");
  let data;
  try {
    const answer = await fetch(place.dataset.grid);
    if (!answer.ok) throw new Error(answer.status);
    data = await answer.json();
  } catch (problem) {
    reading.textContent = `The numbers of this slider could not be loaded: ${problem.message}`;
    return;
  }
  const { controls, x, y, curves, readouts } = data;
  const sizes = controls.map(({ texts }) => texts.length);
  const inside = `${place.id}-inside`;

  const now = () => inputs.map((input) => Number(input.value));
  const at = (values, setting) =>
    values.length === sizes[0] ? values[setting[0]] : values[setting.reduce((sum, index, i) => sum * sizes[i] + index, 0)];
  const along = (values, [, ...others]) => Array.from({ length: sizes[0] }, (_, i) => at(values, [i, ...others]));

  let across = null; // from a value on the axis to pixels

  function draw() {
    const setting = now();
    const width = plot.clientWidth;
    const height = plot.clientHeight;
    const yTicks = ticks(y, height / 55);
    const words = (value) => value.toLocaleString("en", { maximumSignificantDigits: 4 });
    const left = 14 + 6.5 * Math.max(...yTicks.map((value) => words(value).length));
    const box = { left, right: width - 12, top: 30, bottom: height - 40 };
    across = scale(x, box.left, box.right);
    const up = scale(y, box.bottom, box.top);
    const image = svg("svg", { width, height, role: "img", "aria-label": `${title(y)} against ${title(x)}` });
    const add = (tag, attributes, text) => image.appendChild(svg(tag, attributes, text));

    const clip = image.appendChild(svg("clipPath", { id: inside }));
    clip.append(svg("rect", { x: box.left, y: box.top - 1, width: box.right - box.left + 1, height: box.bottom - box.top + 2 }));
    for (const value of yTicks) {
      add("path", { class: "grid", d: `M${box.left} ${up(value)}H${box.right}` });
      add("text", { x: box.left - 7, y: up(value) + 4, "text-anchor": "end" }, words(value));
    }
    for (const value of ticks(x, (box.right - box.left) / 60)) {
      add("path", { class: "grid", d: `M${across(value)} ${box.bottom}v5` });
      add("text", { x: across(value), y: box.bottom + 18, "text-anchor": "middle" }, words(value));
    }
    add("path", { class: "axis", d: `M${box.left} ${box.top}V${box.bottom}H${box.right}` });
    add("text", { class: "title", x: (box.left + box.right) / 2, y: height - 5, "text-anchor": "middle" }, title(x));
    add("text", { class: "title", x: 2, y: 13 }, title(y));

    const taken = []; // boxes of the labels so far
    const label = (className, text, px, py, anchor) => {
      const w = 6.6 * text.length;
      const start = anchor === "end" ? px - w : anchor === "middle" ? px - w / 2 : px;
      const from = Math.min(Math.max(start, box.left + 2), width - w);
      const spot = [from, py - LABEL, from + w, py + 2];
      if (taken.some(([a, b, c, d]) => spot[0] < c && spot[2] > a && spot[1] < d && spot[3] > b)) return;
      taken.push(spot);
      add("text", { class: `label ${className}`, x: from, y: py }, text);
    };

    const points = (curve, choice) => {
      const xs = along(x.values, choice);
      return along(curve.values, choice)
        .map((value, i) => (value === null || xs[i] === null ? null : [xs[i], value]))
        .filter(Boolean);
    };
    // Points beyond the axis are cut off, not moved to its edge.
    const raw = (axis, value, low, high) => {
      const f = axis.log ? Math.log : (v) => v;
      const [a, b] = axis.range.map(f);
      return low + ((f(value) - a) / (b - a)) * (high - low);
    };
    const line = (className, found) =>
      found.length &&
      add("path", {
        class: className,
        "clip-path": `url(#${inside})`,
        d: `M${found.map(([a, b]) => `${raw(x, a, box.left, box.right).toFixed(1)} ${Math.max(-1e4, Math.min(1e4, raw(y, b, box.bottom, box.top))).toFixed(1)}`).join("L")}`,
      });
    const visible = ([a, b]) => a >= x.range[0] && a <= x.range[1] && b >= y.range[0] && b <= y.range[1];
    const name = (className, text, found) => {
      const last = found.filter(visible).at(-1);
      if (last) label(className, text, across(last[0]) - 6, Math.max(box.top + LABEL, up(last[1]) - 6), "end");
    };

    for (const [axis, d, [px, py, anchor]] of [
      [x, x.limit && `M${across(x.limit.at)} ${box.top}V${box.bottom}`, x.limit ? [across(x.limit.at) - 5, box.top + LABEL, "end"] : []],
      [y, y.limit && `M${box.left} ${up(y.limit.at)}H${box.right}`, y.limit ? [box.left + 6, up(y.limit.at) - 5, "start"] : []],
    ])
      if (axis.limit) {
        add("path", { class: "limit", d });
        label("limit", axis.limit.label, px, py, anchor);
      }

    const position = [at(x.values, setting), ...curves.map((curve) => at(curve.values, setting))];
    const ghosts = sizes.length > 1 ? controls[1].texts.map((text, i) => [text, i]).filter(([, i]) => i !== setting[1]) : [];
    const choice = (i) => [0, i, ...setting.slice(2)];
    for (const [, i] of ghosts) line("ghost", points(curves[0], choice(i)));
    curves.forEach((curve, i) => line(`curve curve-${i}`, points(curve, setting)));
    curves.forEach((curve, i) => {
      const value = position[i + 1];
      if (value === null || position[0] === null) return;
      const [px, py] = [across(position[0]), up(value)];
      add("path", { class: "drop", d: `M${box.left} ${py}H${px}V${box.bottom}` });
      add("circle", { class: `point curve-${i}`, cx: px, cy: py, r: 5.5 });
      const text = told(value, { ...curve, unit: curve.unit === "%" ? "%" : "" });
      label("now", text, px - 10, Math.max(box.top + LABEL, py - 9), "end");
    });
    curves.forEach((curve, i) => {
      const text = curves.length > 1 || sizes.length < 2 ? curve.label : controls[1].texts[setting[1]];
      name(`of-${i}`, text, points(curve, setting));
    });
    const ends = [...ghosts].sort(([, a], [, b]) => Math.min(b, sizes[1] - 1 - b) < Math.min(a, sizes[1] - 1 - a) ? 1 : -1);
    for (const [text, i] of ends) name("of-ghost", text, points(curves[0], choice(i)));
    plot.replaceChildren(image);
  }

  function say() {
    const setting = now();
    inputs.forEach((input, i) => {
      const text = controls[i].texts[setting[i]];
      input.setAttribute("aria-valuetext", text);
      input.previousElementSibling.textContent = text;
    });
    const words = new Map(controls.map(({ label, texts }, i) => [label, texts[setting[i]]]));
    for (const part of [...curves, ...readouts]) {
      const value = at(part.values, setting);
      words.set(part.label, value === null ? null : told(value, part));
    }
    const there = at(x.values, setting) !== null && [...words.values()].every((text) => text !== null);
    reading.textContent = there ? data.reading.replace(/\{([^{}]*)\}/g, (_, name) => words.get(name)) : data.absent;
  }

  const update = () => {
    draw();
    say();
  };
  for (const input of inputs) input.addEventListener("input", update);

  // Pointing at the plot moves the first control to the nearest value there.
  const point = (event) => {
    const aim = event.clientX - plot.getBoundingClientRect().left;
    const far = along(x.values, now()).map((value) => (value === null ? Infinity : Math.abs(across(value) - aim)));
    const nearest = String(far.indexOf(Math.min(...far)));
    if (inputs[0].value === nearest) return;
    inputs[0].value = nearest;
    update();
  };
  plot.addEventListener("pointerdown", (event) => {
    plot.setPointerCapture(event.pointerId);
    point(event);
  });
  plot.addEventListener("pointermove", (event) => event.buttons && point(event));

  update();
  new ResizeObserver(draw).observe(plot);
}
