// The form of a request, made from what the bundle knows; views share its values, so that a question goes on.

import { el } from "./elements.js";

const shared = new Map();

/** Values that the next form starts with. */
export function remember(values) {
  for (const [name, value] of Object.entries(values)) shared.set(name, value);
}

/** A form for the body of POST /retrieve; `extra` are labels of further fields, by name. */
export function requestForm(info, submit, { extra = {}, verb = "Ask", userLabel = "User", second = null } = {}) {
  const form = el("form", { class: "request", onsubmit: (event) => { event.preventDefault(); sent(); } });
  const status = el("p", { class: "wrong", role: "alert" });
  form.append(
    el("div", { class: "row" },
      field("user_id", userLabel, { placeholder: "id; none with features", required: second !== null }),
      second && field("second", second, { required: true, placeholder: "id" }),
      Object.entries(extra).map(([name, label]) => (label instanceof Node ? label
        : field(name, label, { required: true, placeholder: "id" }))),
      field("top_k", "Ads", { type: "number", min: 1, max: info.limits.max_top_k, placeholder:
        String(info.bundle.search.top_k), class: "short" }),
      info.ecpm && choice("rank_by", "Rank by", [["score", "score"], ["ecpm", "eCPM"]]),
      el("button", { class: "main" }, verb)),
    el("details", {},
      el("summary", {}, "Features, context and more"),
      fields("Features, in place of the stored ones", "user_features.",
        { ...info.user_features, history: "multi" }),
      Object.keys(info.context).length > 0 && fields("Context", "context.", info.context),
      el("fieldset", {}, el("legend", {}, "Search"),
        field("beam_width", "Beam width", { type: "number", min: 1, max: info.limits.max_beam_width, class: "short" }),
        field("targeting", "Targeting (JSON)",
          { placeholder: '{"field": "category", "in": ["shoes"]}', class: "long" }),
        choice("exclude_history", "Ads of the history", [["", "as declared"], ["true", "left out"], ["false", "kept"]]),
        choice("exact", "Search", [["", "through the tree"], ["true", "every ad (slow)"]]))),
    status);
  function sent() {
    status.textContent = "";
    try {
      const values = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]));
      remember(values);
      submit(bodyOf(values, info), values);
    } catch (error) {
      status.textContent = error.message;
    }
  }
  form.sent = () => { if (form.reportValidity()) sent(); };
  return form;
}

function field(name, label, attributes) {
  return el("label", { class: attributes.class }, label, el("input", {
    name, autocomplete: "off", spellcheck: "false", value: shared.get(name) ?? "", ...attributes,
    class: null }));
}

function choice(name, label, options) {
  return el("label", {}, label, el("select", { name }, options.map(([value, text]) =>
    el("option", { value, selected: shared.get(name) === value }, text))));
}

function fields(title, prefix, kinds) {
  const hints = { dense: "number", categorical: "value", multi: "values, with commas between" };
  return el("fieldset", {}, el("legend", {}, title), Object.entries(kinds).map(([name, kind]) =>
    field(prefix + name, name, { placeholder: hints[kind] ?? kind, inputmode: kind === "dense" ? "decimal" : null })));
}

function bodyOf(values, info) {
  const body = { user_id: values.user_id };
  if (values.top_k) body.top_k = Number(values.top_k);
  if (values.rank_by && values.rank_by !== "score") body.rank_by = values.rank_by;
  if (values.beam_width) body.beam_width = Number(values.beam_width);
  for (const name of ["exclude_history", "exact"]) if (values[name]) body[name] = values[name] === "true";
  if (values.targeting) body.targeting = json("Targeting", values.targeting);
  for (const [group, kinds] of [["user_features", { ...info.user_features, history: "multi" }],
    ["context", info.context]]) {
    const given = Object.entries(kinds).filter(([name]) => values[`${group}.${name}`])
      .map(([name, kind]) => [name, typed(name, kind, values[`${group}.${name}`])]);
    if (given.length) body[group] = Object.fromEntries(given);
  }
  if (!body.user_id) {
    if (!body.user_features) throw new Error("Give a user, or features of one below");
    body.user_id = `console-${Date.now()}`; // of nobody, so that the features alone count
  }
  return body;
}

function typed(name, kind, text) {
  if (kind === "multi") return text.split(",").map((part) => part.trim()).filter(Boolean);
  if (kind === "categorical") return text;
  if (kind !== "dense") return json(name, text);
  if (Number.isNaN(Number(text))) throw new Error(`${name} is ${text}, give a number`);
  return Number(text);
}

function json(name, text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${name} is not valid JSON: ${error.message}`);
  }
}
