// Curves over a grid that was computed when the page was built. Loaded when a slider comes into view.
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

export async function open(place) {
  const plot = place.querySelector(".slider-plot");
  const inputs = [...place.querySelectorAll("input")];
  const sentence = place.querySelector(".slider-reading > span");
  let data;
  try {
    const answer = await fetch(place.dataset.grid);
    if (!answer.ok) throw new Error(answer.status);
    data = await answer.json();
  } catch (problem) {
    sentence.textContent = `The numbers could not be loaded: ${problem.message}`;
    return;
  }
  const { controls, x, y, curves, readouts } = data;
  const sizes = controls.map(({ texts }) => texts.length);
  const now = () => inputs.map((input) => Number(input.value));
  const at = (values, setting) =>
    values[values.length === sizes[0] ? setting[0] : setting.reduce((before, index, i) => before * sizes[i] + index, 0)];
  const along = (values, [, ...others]) => Array.from({ length: sizes[0] }, (_, i) => at(values, [i, ...others]));
  const points = (curve, setting) => {
    const places = along(x.values, setting);
    return along(curve.values, setting)
      .map((value, i) => [places[i], value])
      .filter(([a, b]) => a !== null && b !== null);
  };
  let across = null;

  function draw() {
    const setting = now();
    const [width, height] = [plot.clientWidth, plot.clientHeight];
    if (!width) return; // not laid out: drawn when it is
    const heights = ticks(y, height / 55);
    const left = 14 + 6.5 * Math.max(...heights.map((value) => tick(value).length));
    const [right, top, bottom] = [width - 12, 30, height - 40];
    const up = scale(y, bottom, top);
    across = scale(x, left, right);
    const image = svg("svg", { width, height, role: "img", "aria-label": `${title(y)} against ${title(x)}` });
    plot.replaceChildren(image); // labels are measured as they are added
    const add = (tag, attributes, text) => image.appendChild(svg(tag, attributes, text));
    const inside = `${place.id}-inside`;
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
    const line = (className, found) => {
      const far = (value) => Math.min(Math.max(value, -1e4), 1e4);
      const path = found.map(([a, b]) => [far(across(a)), far(up(b))]);
      const d = path.map(([px, py]) => `${px.toFixed(1)} ${py.toFixed(1)}`).join("L");
      if (d) add("path", { class: className, "clip-path": `url(#${inside})`, d: `M${d}` });
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
      words.setAttribute("x", best.from);
      words.setAttribute("y", best.base);
    };
    const name = (className, text, found, most) => {
      const seen = found.filter(([a, b]) => within(x, a) && within(y, b)).map(([a, b]) => [across(a), up(b)]);
      const every = Math.ceil(seen.length / 40);
      const some = seen.reverse().filter((_, i) => i % every === 0);
      label(className, text, some.flatMap(([px, py]) => [[px - 6, py - 7, 1], [px + 6, py - 7, 0], [px + 6, py + 16, 0], [px - 6, py + 16, 1]]), most);
    };

    const others = (controls[1]?.texts ?? []).map((text, i) => [text, points(curves[0], [0, i, ...setting.slice(2)]), i]).filter(([, , i]) => i !== setting[1]);
    for (const [, found] of others) line("ghost", found);
    curves.forEach((curve, i) => line(`curve curve-${i}`, points(curve, setting)));
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

    const here = at(x.values, setting);
    curves.forEach((curve, i) => {
      const value = at(curve.values, setting);
      if (here === null) return;
      const px = across(clamped(x, here));
      if (value === null) {
        add("path", { class: "drop", d: `M${px} ${top}V${bottom}` });
        return;
      }
      const py = up(clamped(y, value));
      add("path", { class: "drop", d: `M${left} ${py}H${px}V${bottom}` });
      add("circle", { class: `point curve-${i}`, cx: px, cy: py, r: 5.5 });
      drawn.push(...Array(12).fill([px, py])); // worse to cover than a line
      label("now", told(value, { ...curve, unit: "" }), [[px - 9, py - 9, 1], [px + 9, py + 19, 0], [px + 9, py - 9, 0], [px - 9, py + 19, 1]]);
    });
    const alone = curves.length === 1 && sizes.length > 1;
    curves.forEach((curve, i) => name(`of-${i}`, alone ? controls[1].texts[setting[1]] : curve.label, points(curve, setting)));
    for (const [text, found, i] of others) if (i === 0 || i === sizes[1] - 1) name("", text, found, 4);
  }

  function say() {
    const setting = now();
    const words = new Map();
    inputs.forEach((input, i) => {
      const text = controls[i].texts[setting[i]];
      input.setAttribute("aria-valuetext", text);
      input.previousElementSibling.textContent = text;
      words.set(controls[i].label, text);
    });
    const parts = [...curves, ...readouts].map((part) => [part, at(part.values, setting)]);
    for (const [part, value] of parts) words.set(part.label, value === null ? "" : told(value, part));
    const there = parts.every(([, value]) => value !== null);
    sentence.textContent = there ? data.reading.replace(/\{([^{}]*)\}/g, (_, named) => words.get(named)) : data.absent;
  }

  const update = () => {
    draw();
    say();
  };
  for (const input of inputs) input.addEventListener("input", update);

  // Pointing at the plot moves the first control to the nearest place.
  const point = (event) => {
    const aim = event.clientX - plot.getBoundingClientRect().left;
    const far = along(x.values, now()).map((value) => (value === null ? Infinity : Math.abs(across(value) - aim)));
    inputs[0].value = String(far.indexOf(Math.min(...far)));
    update();
  };
  plot.addEventListener("pointerdown", (event) => {
    plot.setPointerCapture(event.pointerId);
    point(event);
  });
  plot.addEventListener("pointermove", (event) => {
    if (plot.hasPointerCapture(event.pointerId)) point(event);
  });

  update();
  new ResizeObserver(draw).observe(plot);
}
