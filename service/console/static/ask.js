// Ask: the ads of a user, with what they are, what they score and pay, and where the time went.

import { ask } from "./api.js";
import { bar, stages } from "./charts.js";
import { announce, answered, card, el, facts, link, table } from "./elements.js";
import { requestForm } from "./request_form.js";
import { count, featuresOf, fixed, money, ms, nameOf, pictureOf, plural, predicate, share } from "./words.js";

export async function show(place, { info, signal }) {
  const answer = el("div", { class: "answer" });
  const form = requestForm(info, (body) => answered(answer, signal, () => found(body, info, signal)));
  place.append(card(null, form), answer);
}

async function found(body, info, signal) {
  const began = performance.now();
  const reply = await ask("read", "/retrieve", { body, signal });
  const took = performance.now() - began;
  const described = await descriptions(reply.ads.map((ad) => ad.ad_id), signal);
  announce(`${plural(reply.ads.length, "ad")} for ${body.user_id}`);
  return [summary(reply, took), reply.ads.length ? ads(reply, described, info, body) : nothing(reply), times(reply)];
}

/** Ad id -> what it is; empty where the console may not ask. */
export async function descriptions(adIds, signal) {
  if (!adIds.length) return new Map();
  const reply = await ask("admin", "/admin/ads", { body: { ad_ids: adIds }, signal }).catch((error) => {
    if (error.name === "AbortError") throw error;
    return { ads: [] };
  });
  return new Map(reply.ads.map((ad) => [ad.ad_id, ad]));
}

/** The picture and the name of an ad, or its id. */
export function adName(adId, ad) {
  const name = nameOf(ad), picture = pictureOf(ad);
  return el("span", { class: "ad" },
    picture && el("img", { src: picture, alt: "", width: 36, height: 36, loading: "lazy" }),
    el("span", {}, link("ad", { id: adId }, name ?? adId), name && el("span", { class: "faint" }, ` ${adId}`)));
}

const KINDS = {
  known: "known", inline: "described in the request", unknown: "unknown: neither bundle nor change log has it",
};

function summary(reply, took) {
  return card(null, facts([
    ["User", KINDS[reply.user]],
    ["Eligible ads", count(reply.eligible)],
    ["Pairs scored", count(reply.pairs_scored)],
    ["Estimated overlap", reply.estimated_overlap === null ? null : share(reply.estimated_overlap)],
    ["Coverage", reply.coverage < 1 ? share(reply.coverage) : null],
    ["History", reply.history && `${reply.history.known} known, ${reply.history.unknown} unknown`],
    ["Embedding", { local: "from this worker", redis: "from Redis", miss: "computed", bypass: "computed" }[
      reply.user_cache]],
    ["Degraded", reply.degraded.length ? reply.degraded.join(", ") : null],
    ["Time", `${ms(reply.latency_ms.total)}, here ${ms(took)}`],
    ["As of change", count(reply.as_of)],
  ]));
}

function ads(reply, described, info, body) {
  const tasks = reply.ads[0].probabilities ? info.tasks : [], byEcpm = body.rank_by === "ecpm";
  const worth = (ad) => (byEcpm ? ad.ecpm : ad.score);
  const best = worth(reply.ads[0]), worst = worth(reply.ads.at(-1)), range = best - worst || 1;
  const ranked = (ad, text) => bar((worth(ad) - worst) / range, text);
  const columns = [["#", true], ["Ad"], ["Features"], ["Score", true],
    ...tasks.map((task) => [`P(${task})`, true]), ...(byEcpm ? [["eCPM", true], ["Bid", true]] : []), [""]];
  const rows = reply.ads.map((ad, at) => [
    String(at + 1), adName(ad.ad_id, described.get(ad.ad_id)),
    el("span", { class: "features" }, featuresOf(described.get(ad.ad_id)).map(([field, value]) =>
      el("span", {}, el("b", {}, field), ` ${value} `))),
    byEcpm ? fixed(ad.score) : ranked(ad, fixed(ad.score)),
    ...tasks.map((task) => share(ad.probabilities[task], 2)),
    ...(byEcpm ? [ranked(ad, money(ad.ecpm)), ad.bid ? `${ad.bid.type} ${money(ad.bid.micros)}` : "none"] : []),
    link("why", { ad_id: ad.ad_id }, "Why"),
  ]);
  return card(plural(reply.ads.length, "ad"), table("Ads, best first", columns, rows));
}

const EMPTY = {
  ads: "no ad may be shown, or none accepts this user and context",
  campaigns: "their campaigns hold all back that are left", request: "the request's targeting leaves none",
  exclusions: "the request excludes all that are left",
  floor: "all promise less than the floor",
};

function nothing(reply) {
  const because = reply.empty;
  if (!because) return card("No ads", el("p", {}, "The deadline came before any was scored, or a shard is away."));
  return card("No ads", el("p", {}, `Because ${EMPTY[because.by] ?? because.by}.`), because.clause && el("p", {},
    `${because.path} alone leaves ${plural(because.left, "ad")}: ${predicate(because.clause)}`));
}

function times(reply) {
  const { total, queue, features, cache, user_tower: tower, search, scorer, levels } = reply.latency_ms;
  const rest = Math.max(0, total - queue - features - cache - tower - search);
  return card("Time", stages([["queue", queue], ["features", features], ["cache", cache], ["user tower", tower],
    ["scorer", scorer], ["search besides", Math.max(0, search - scorer)], ["rest", rest]], total),
  table("Time by level", [["Level"], ["Candidates", true], ["Scored", true], ["Time", true]], levels.map((level) =>
    [String(level.level), count(level.candidates), level.scored ? count(level.scored) : "all fit", ms(level.ms)])));
}
