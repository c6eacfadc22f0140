// Trials: a canary, which answers a share of the users, and a shadow, which is compared in the background.

import { ask, once } from "./api.js";
import { adName, descriptions } from "./ask.js";
import { bar } from "./charts.js";
import { announce, answered, card, confirmed, el, facts, failure, table } from "./elements.js";
import { count, fixed, ms, share, signed } from "./words.js";

export async function show(place, { signal, info }) {
  const outcome = el("div", { class: "answer" }), answer = el("div", { class: "answer" });
  place.append(outcome, answer);
  const again = () => answered(answer, signal, () => look(act, info, signal));
  async function act(title, text, verb, { path, method = "POST", body, mayForce = false }) {
    const given = await confirmed(title, text, verb, mayForce);
    if (!given) return;
    outcome.replaceChildren(card(null, el("p", { class: "waiting" }, `${title} …`)));
    try {
      const done = await once("admin", path, { signal, method, body: mayForce ? { ...body, force: given.force } : body });
      outcome.replaceChildren(card(`${title}: done`,
        el("p", {}, `In every worker of the replica that answered, after ${done.seconds.toFixed(1)} s.`),
        done.comparison && el("pre", {}, done.comparison)));
      announce(`${title}: done`);
    } catch (error) {
      if (error.name !== "AbortError") outcome.replaceChildren(failure(error));
    }
    await again();
  }
  await again();
}

async function look(act, info, signal) {
  const [found, listed] = await Promise.all(["/admin/trials", "/admin/bundles"].map((path) =>
    ask("admin", path, { signal })));
  const names = new Map(listed.bundles.map((entry) => [entry.bundle_id, entry.bundle]));
  const others = listed.bundles.filter((entry) => entry.bundle !== listed.current && entry.problem === null);
  const ads = [...found.only_current, ...found.only_shadow].map((entry) => entry.ad_id);
  const described = ads.length ? await descriptions(ads, signal) : new Map();
  const here = info.bundle.bundle_id;
  return [
    el("p", {}, el("button", { type: "button",
      onclick: () => window.dispatchEvent(new HashChangeEvent("hashchange")) }, "Look again")),
    state("canary", found, others, act), sides(found, names), state("shadow", found, others, act),
    ...found.shadows.filter((pair) => pair.beside === here).map((pair) => comparison(pair, names)),
    only(found, described), el("p", { class: "faint" }, "Figures are those of the replica that answers, since it "
      + "started; the ads that only one shows are those that one of its workers has compared.")];
}

const TITLES = { canary: "Canary", shadow: "Shadow" };

function state(role, found, others, act) {
  const trial = found[role], ended = found.ended[role];
  const of = trial && trial.share !== null ? `, ${share(trial.share, 1)} of the users` : "";
  const path = `/admin/${role}`;
  return card(TITLES[role], facts([
    ["On trial", trial ? `${trial.bundle} beside ${trial.beside}${of}` : "nothing"],
    ["State", trial && (trial.ready ? "runs" : "is being checked")],
    ["The last one", ended && `${ended.bundle}: ${ended.reason}`], ["Problem", found.trials_problem]]),
  trial && el("button", { type: "button", onclick: () => act(`End the ${role}`,
    role === "canary" ? `${trial.beside} answers all users again.` : "Answers are compared no longer.", "End",
    { path, method: "DELETE" }) }, `End the ${role}`),
  (role === "canary" || !trial) && begin(role, trial, others, act));
}

/** A form that begins a trial, or gives a canary another share. */
function begin(role, trial, others, act) {
  if (!others.length) return el("p", {}, "There is no other bundle beside the pointer that could be opened.");
  const known = trial ? others.filter((entry) => entry.bundle === trial.bundle) : others;
  const form = el("form", { class: "request", "aria-label": `Begin a ${role}` },
    el("div", { class: "row" },
      el("label", {}, "Bundle", el("select", { name: "bundle" }, known.map((entry) =>
        el("option", { value: entry.bundle }, entry.bundle)))),
      role === "canary" && el("label", { class: "short" }, "Share of users", el("input", {
        name: "share", type: "number", min: "0.001", max: "1", step: "0.001", required: true,
        value: trial ? String(trial.share) : "0.05" })),
      el("button", { class: "main" }, trial ? "Set the share" : `Begin the ${role}`)));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const given = new FormData(form), bundle = given.get("bundle"), path = `/admin/${role}`;
    if (role === "shadow") {
      act(`Shadow ${bundle}`, `What ${bundle} would answer is compared with what is returned.`, "Begin",
        { path, body: { bundle } });
      return;
    }
    const part = Number(given.get("share"));
    act(`Canary ${bundle}`, `${bundle} answers ${share(part, 1)} of the users.`, trial ? "Set" : "Begin",
      { path, body: { bundle, share: part }, mayForce: !trial });
  });
  return form;
}

function sides(found, names) {
  if (!found.sides.length) return null;
  const rows = found.sides.map((one) => [one.side, names.get(one.bundle_id) ?? one.bundle_id, count(one.requests),
    count(one.refused), count(one.failed), count(one.degraded), one.p50_ms === null ? "–" : ms(one.p50_ms),
    one.p99_ms === null ? "–" : ms(one.p99_ms)]);
  return card("Sides, while a canary ran", table("Sides", [["Side"], ["Bundle"], ["Requests", true],
    ["Refused", true], ["Failed", true], ["Degraded", true], ["p50", true], ["p99", true]], rows),
  facts([["Passed on to the current bundle", `${count(found.fallbacks.refused)} that the canary refused, ${
    count(found.fallbacks.failed)} at which it failed`]]));
}

function comparison(pair, names) {
  const name = names.get(pair.bundle_id) ?? pair.bundle_id, beside = names.get(pair.beside) ?? pair.beside;
  return card(`${name} in the shadow of ${beside}`, facts([
    ["Compared", count(pair.compared)],
    ["Overlap", bar(pair.overlap, fixed(pair.overlap))],
    ["Processor time", `${ms(pair.cpu_ms)}, of the current one ${ms(pair.current_cpu_ms)}`]]),
  table(`Drift of ${name}`, [["Task"], ["Of"], ["Mean difference", true]], pair.drift.map((entry) =>
    [entry.task, entry.scale, signed(entry.mean, 4)])));
}

function only(found, described) {
  const parts = [["only_current", "Only the current bundle shows"], ["only_shadow", "Only the shadow shows"]];
  return parts.map(([name, title]) => found[name].length ? card(title, table(title, [["Ad"], ["Answers", true]],
    found[name].map((entry) => [adName(entry.ad_id, described.get(entry.ad_id)), count(entry.count)]))) : null);
}
