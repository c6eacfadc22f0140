// Numbers, names and predicates in words.

const whole = new Intl.NumberFormat("en");

export const count = (value) => whole.format(value);

export function number(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  return new Intl.NumberFormat("en", { maximumSignificantDigits: digits }).format(value);
}

export const fixed = (value, digits = 3) => (value === null || value === undefined ? "–" : value.toFixed(digits));
export const signed = (value, digits = 3) => (value === null || value === undefined ? "–"
  : `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`);
export const share = (value, digits = 1) => (value === null || value === undefined || Number.isNaN(value) ? "–"
  : `${(value * 100).toFixed(digits)} %`);
export const ms = (value) => `${value < 10 ? value.toFixed(2) : value.toFixed(0)} ms`;
export const money = (micros) => (micros === null || micros === undefined ? "–" : number(micros / 1e6, 4));
export const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

/** Fields of an ad that hold its name and its picture, in this order. */
const NAMES = ["name", "title"], PICTURES = ["image_url", "image", "picture"];

export const nameOf = (ad) => NAMES.map((field) => ad?.features?.[field]).find(Boolean) ?? null;
export const pictureOf = (ad) => PICTURES.map((field) => ad?.features?.[field]).find(Boolean) ?? null;

/** The other fields of an ad, as [field, text]. */
export function featuresOf(ad) {
  return Object.entries(ad?.features ?? {})
    .filter(([field, value]) => ![...NAMES, ...PICTURES].includes(field) && value !== null && value?.length !== 0)
    .map(([field, value]) => [field, Array.isArray(value) ? value.join(", ")
      : typeof value === "number" ? number(value, 4) : value]);
}

/** A predicate as people write it. */
export function predicate(given) {
  if (given === null || given === undefined) return "everybody";
  if ("all" in given) return joined(given.all, " and ", "everybody");
  if ("any" in given) return joined(given.any, " or ", "nobody");
  if ("not" in given) return `not (${predicate(given.not)})`;
  if ("in" in given) {
    const shown = given.in.slice(0, 8).join(", ");
    return `${given.field} in {${shown}${given.in.length > 8 ? `, … ${given.in.length} values` : ""}}`;
  }
  const { field, at_least: low, at_most: high, ...rest } = given;
  if (low === undefined && high === undefined) return `${field} ${JSON.stringify(rest)}`;
  if (low === undefined) return `${field} ≤ ${number(high, 6)}`;
  return high === undefined ? `${field} ≥ ${number(low, 6)}` : `${number(low, 6)} ≤ ${field} ≤ ${number(high, 6)}`;
}

function joined(parts, word, none) {
  if (!parts.length) return none;
  return parts.map((part) => ("all" in part || "any" in part ? `(${predicate(part)})` : predicate(part))).join(word);
}

const OUTCOMES = {
  returned: "returned", below_floor: "below the floor", outscored: "outscored by better ads",
  capped: "left out by a cap", pruned: "pruned with its node", cut_short: "cut off by the deadline, or its shard is away",
  filtered: "not eligible",
};
export const outcome = (word) => OUTCOMES[word] ?? word;

const REFUSALS = {
  paused: "it is paused", deleted: "it is deleted", unfit: "its last change does not fit the bundle",
  ad: "its own targeting refuses the user or the context", request: "the request's targeting refuses it",
  budget: "its campaign has spent the budget of the day",
  pacing: "its campaign is paced, and lets this request pass by",
  frequency_cap: "the user has seen its campaign often enough", no_change_log: "nobody knows what its campaign spends",
  exclude_ad_ids: "the request excludes it by name", exclude_history: "it is in the user's history",
  max_per: "a cap of the request",
};
export const refusal = (word) => REFUSALS[word] ?? word;
