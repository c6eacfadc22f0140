// An ad's life: its status, bid and budget, who sees it, and how many more would without each clause of its targeting.

import { ask, once } from "./api.js";
import { bar } from "./charts.js";
import { announce, answered, card, el, facts, link, table } from "./elements.js";
import {
  count, featuresOf, money, nameOf, number, outcome, pictureOf, plural, predicate, refusal, share,
} from "./words.js";

export async function show(place, { info, values, signal }) {
  const answer = el("div", { class: "answer" }), asked = values.get("id") ?? "";
  const form = el("form", { class: "request", onsubmit: (event) => {
    event.preventDefault();
    const next = `#/ad?${new URLSearchParams({ id: form.elements.id.value.trim() })}`;
    if (location.hash === next) look();
    else location.hash = next;
  } }, el("div", { class: "row" }, el("label", {}, "Ad", el("input", { name: "id", required: true, value: asked,
    placeholder: "id", autocomplete: "off", spellcheck: "false" })), el("button", { class: "main" }, "Look")));
  const look = () => answered(answer, signal, () => found(asked, info, signal));
  place.append(card(null, form), answer);
  if (asked) await look();
}

async function found(adId, info, signal) {
  const path = encodeURIComponent(adId);
  const [reach, live] = await Promise.all([ask("admin", `/admin/reach/${path}`, { signal }),
    once("write", `/ads/${path}`, { method: "GET", signal }).catch((error) => error)]);
  const budget = await budgetOf(reach.ad, info, signal);
  announce(`${adId} is ${reach.status}`);
  return [card(null, head(reach, live)), budget, audience(reach), lately(reach), changes(live)];
}

function head({ ad, status }, live) {
  const picture = pictureOf(ad), features = featuresOf(ad);
  return [el("div", { class: "title" }, picture && el("img", { src: picture, alt: "", width: 64, height: 64 }),
    el("div", {}, el("p", { class: "name" }, nameOf(ad) ?? ad.ad_id, " ", el("span", { class: `state ${status}` },
      status)), nameOf(ad) && el("p", { class: "faint" }, ad.ad_id))),
  facts([["Bid", ad.bid ? `${ad.bid.type} ${money(ad.bid.micros)}` : "none"],
    ["Path", live.path ? live.path.join(" › ") : null], ["Unfit", live.unfit ?? null], ...features])];
}

/** The budget of the ad's campaign, where the service keeps budgets. */
async function budgetOf(ad, info, signal) {
  const campaign = ad.features[info.roles.campaign];
  if (!campaign) return null;
  const reply = await once("write", `/campaigns/${encodeURIComponent(campaign)}`, { method: "GET", signal })
    .catch((error) => error);
  if (reply instanceof Error) return null;
  return card("Budget", facts(Object.entries(reply).map(([name, value]) => inWords(name, value, reply.currency))));
}

function inWords(name, value, currency) {
  const term = name.replace(/_micros$/, "").replaceAll("_", " ");
  if (value === null) return [term, null];
  if (name.endsWith("_micros")) return [term, `${money(value)} ${currency ?? ""}`];
  if (name.endsWith("_until")) return [term, new Date(value * 1000).toLocaleString("en")];
  if (typeof value === "object") {
    return [term, Object.entries(value).map(([part, of]) => `${of} ${part}`).join(", ")];
  }
  return [term, typeof value === "number" ? number(value, 6) : String(value)];
}

function audience({ ad, users }) {
  if (!users.known) {
    return card("Who may see it", el("p", {}, `${predicate(ad.targeting)}.`), el("p", { class: "faint" },
      "This bundle has no table of users, so there is no estimate of reach."));
  }
  const part = users.eligible / users.looked_at;
  const sampled = users.looked_at < users.known ? `, by ${count(users.looked_at)} of them` : "";
  const rows = users.clauses.map((clause) => [predicate(clause.clause), el("span", { class: "faint" }, clause.path),
    clause.judged ? effect(clause, users) : "about the context, not judged",
    clause.judged ? bar(clause.eligible / users.looked_at, share(clause.eligible / users.looked_at)) : "–"]);
  return card("Who may see it", el("p", {}, predicate(ad.targeting)),
    el("p", { class: "verdict" }, `${share(part)} of ${plural(users.known, "user")}${sampled}`), bar(part, share(part)),
    rows.length > 0 && table("What each clause costs", [["Clause"], ["Where"], ["Without it"], ["Users then"]], rows));
}

function effect(clause, users) {
  if (!users.eligible) return `${plural(clause.eligible, "user")} instead of none`;
  if (clause.eligible === users.eligible) return "no change";
  return `${number(clause.times, 2)} × the users are eligible`;
}

function lately(reach) {
  if (!reach.requests) {
    return card("Lately", el("p", { class: "faint" }, "This worker has kept no recent request to look at."));
  }
  return card("Lately", el("p", {}, `In the last ${plural(reach.requests, "request")} that this worker kept:`),
    table("Outcomes", [["Outcome"], ["Requests", true], ["Share"]],
      Object.entries(reach.outcomes).map(([word, times]) =>
        [outcome(word), count(times), bar(times / reach.requests, share(times / reach.requests, 0))])),
    Object.keys(reach.filtered_by).length > 0 && el("p", { class: "faint" }, `Not eligible: ${
      Object.entries(reach.filtered_by).map(([by, times]) => `${count(times)} × ${refusal(by)}`).join("; ")}.`));
}

function changes(live) {
  if (live instanceof Error) {
    return card("Live", el("p", { class: "faint" }, `${live.status ?? ""} ${live.message}`));
  }
  return card("Live", facts([["Last change", live.version ? count(live.version) : "none since the bundle"],
    ["At", live.changed_at && new Date(live.changed_at * 1000).toLocaleString("en")],
    ["Applied by", live.workers.length ? `${live.workers.filter((worker) => worker.applied).length} of ${
      plural(live.workers.length, "worker")}` : null], ["Bundle", live.bundle_id]]),
  el("p", {}, link("why", { ad_id: live.ad_id }, "Why a request does not get it")));
}
