// Compare: one user beside another, or one bundle beside another, with the differences marked.

import { ask } from "./api.js";
import { adName, descriptions } from "./ask.js";
import { announce, answered, card, el, facts, table } from "./elements.js";
import { requestForm } from "./request_form.js";
import { count, fixed, ms, share } from "./words.js";

export async function show(place, { info, values, signal }) {
  const answer = el("div", { class: "answer" }), chosen = values.get("what") ?? "users";
  const tabs = el("p", { class: "tabs" }, [["users", "Two users"], ["bundles", "Two bundles"]].map(([what, text]) =>
    el("a", { href: `#/compare?what=${what}`, "aria-current": what === chosen ? "true" : null }, text)));
  place.append(card(null, tabs, el("div", {}, el("p", { class: "waiting" }, "…"))), answer);
  const form = chosen === "users" ? userForm(info, answer, signal) : await bundleForm(info, answer, values, signal);
  tabs.nextSibling.replaceChildren(form);
}

function userForm(info, answer, signal) {
  return requestForm(info, (body, given) => answered(answer, signal, async () => {
    const [one, other] = await Promise.all([body.user_id, given.second].map((user) =>
      ask("read", "/retrieve", { body: { ...body, user_id: user }, signal })));
    return beside([body.user_id, one], [given.second, other], signal);
  }), { verb: "Compare", userLabel: "One user", second: "Other user" });
}

async function bundleForm(info, answer, values, signal) {
  const { bundles, current } = await ask("admin", "/admin/bundles", { signal });
  const others = bundles.filter((entry) => entry.bundle !== current && entry.problem === null);
  if (!others.length) return el("p", {}, "There is no other bundle beside the pointer that could be opened.");
  const select = el("label", {}, "Beside", el("select", { name: "bundle" }, others.map((entry) =>
    el("option", { value: entry.bundle, selected: entry.bundle === values.get("bundle") }, entry.bundle))));
  return requestForm(info, (body, given) => answered(answer, signal, async () => {
    const other = await ask("admin", "/admin/bundles/retrieve", { body: { ...body, bundle: given.bundle }, signal });
    const one = await ask("read", "/retrieve", { body, signal });
    return beside([current, one], [given.bundle, other], signal);
  }), { verb: "Compare", extra: { bundle: select } });
}

async function beside([oneName, one], [otherName, other], signal) {
  const rank = (reply) => new Map(reply.ads.map((ad, at) => [ad.ad_id, { rank: at + 1, score: ad.score }]));
  const first = rank(one), second = rank(other);
  const all = [...new Set([...first.keys(), ...second.keys()])];
  const order = (ad) => Math.min(first.get(ad)?.rank ?? Infinity, second.get(ad)?.rank ?? Infinity);
  all.sort((a, b) => order(a) - order(b));
  const common = all.filter((ad) => first.has(ad) && second.has(ad)).length;
  const described = await descriptions(all, signal);
  announce(`${common} of ${all.length} ads in both`);
  const rows = all.map((ad) => {
    const here = first.get(ad), there = second.get(ad), [kind, text] = difference(here, there, oneName, otherName);
    return { class: kind, cells: [adName(ad, described.get(ad)), here ? String(here.rank) : "–",
      here ? fixed(here.score) : "–", there ? String(there.rank) : "–", there ? fixed(there.score) : "–", text] };
  });
  const time = (reply) => `${ms(reply.latency_ms.search)}, ${count(reply.pairs_scored)} pairs`;
  return [card(null, facts([
    ["In both", `${common} of ${Math.max(one.ads.length, other.ads.length)} (${share(common
      / Math.max(one.ads.length, other.ads.length, 1), 0)})`],
    ["Eligible", `${count(one.eligible)} and ${count(other.eligible)}`],
    [`Search, ${oneName}`, time(one)], [`Search, ${otherName}`, time(other)]])),
  card("Ads", table("Ads of both answers", [["Ad"], [`# ${oneName}`, true], ["Score", true], [`# ${otherName}`, true],
    ["Score", true], ["Difference"]], rows))];
}

function difference(here, there, oneName, otherName) {
  if (!there) return ["only-one", `only ${oneName}`];
  if (!here) return ["only-other", `only ${otherName}`];
  const moved = here.rank - there.rank;
  if (!moved) return ["", "same rank"];
  return ["moved", `${moved > 0 ? "▲" : "▼"} ${Math.abs(moved)}`];
}
