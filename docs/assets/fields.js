// What a form says before Python is loaded: numbers by the rules that its fields bring along (planner_form.py), in the same
// words. What was most likely meant is proposed, and never taken.
const NUMBER = /^[ \t]*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?[ \t]*$/i;
const MEANT = /^\s*[p$]?\s*(\d{1,3}(?:[,_]\d{3})+|\d{1,15})([.,]\d{1,9})?\s*(\D{0,4}?)\s*$/i;
const quoted = (text) => {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  const shown = mark + text.replaceAll("\\", "\\\\").replaceAll(mark, `\\${mark}`) + mark;
  return shown.length <= 60 ? shown : `${shown.slice(0, 60)}…`;
};

// Why the value of a field cannot be; "" where it can, or where only Python knows.
export function refusal(field, units = {}) {
  const { low, high, rule, unit, whole, several, word, empty } = field.dataset;
  const text = field.value;
  if (rule === undefined || (word && text.trim().toLowerCase() === word)) return "";
  if (text === "" && (empty === "" || field.form.elements[empty]?.value)) return "";
  const may = (number) => Number(low) <= number && number <= Number(high) && (whole === undefined || number % 1 === 0);
  const meant = (part) => {
    const found = MEANT.exec(part);
    const name = found?.[3].toLowerCase();
    if (!found || !(name in units) || (name.endsWith("ib") && unit !== "GiB")) return NaN;
    const number = Number(found[1].replaceAll(/[,_]/g, "") + (found[2] ?? "").replace(",", "."));
    let scale = units[name];
    if (scale === 1 && number > Math.max(1, high)) scale = unit === "s" ? 1e-3 : high <= 1 ? 0.01 : 1;
    return Number((scale * number).toPrecision(10));
  };
  for (const part of several !== undefined && text.includes(",") ? text.split(",").map((one) => one.trim()) : [text]) {
    if (NUMBER.test(part) && may(Number(part))) continue;
    const proposed = meant(part);
    return `${field.name} must be ${rule}${may(proposed) ? ` (did you mean ${proposed}?)` : ""}, got ${quoted(part)}`;
  }
  return "";
}

// At its field, and no more where nothing is told.
export const problem = (field, told) => {
  field.setAttribute("aria-invalid", String(Boolean(told)));
  field.form.querySelector(`#${field.id}-problem`).textContent = told;
};

// Where it may lie folded, or below the header.
export const gone = (field) => {
  const folded = field.closest("details");
  if (folded) folded.open = true;
  field.focus();
  field.scrollIntoView({ block: "nearest" });
};

// Words as a shell takes them.
export const shell = (words) => words.map((text) => (/^[\w.,:/+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`)).join(" ");
