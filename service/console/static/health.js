// Health: live overlap, calibration, cache, queue, times, from the metrics of the replica that answers.

import { ask } from "./api.js";
import { bar, sparkline } from "./charts.js";
import { answered, card, el, facts, table } from "./elements.js";
import { count, fixed, ms, number, share } from "./words.js";

const EVERY = 5_000; // ms between two looks
const KEPT = 60; // looks that the lines show

export async function show(place, { info, signal }) {
  const answer = el("div", { class: "answer" }), past = new Map();
  place.append(answer);
  await answered(answer, signal, () => look(info, past, signal));
  const timer = setInterval(async () => {
    if (document.hidden || answer.contains(document.activeElement)) return; // nobody loses the place
    const found = await look(info, past, signal).catch((error) => (error.name === "AbortError" ? null : error));
    if (found && !(found instanceof Error) && !signal.aborted) answer.replaceChildren(...found.flat().filter(Boolean));
  }, EVERY);
  signal.addEventListener("abort", () => clearInterval(timer));
}

async function look(info, past, signal) {
  const reply = await ask("admin", "/admin/metrics", { signal });
  const now = new Metrics(reply.samples);
  // Counters are comparable within one replica alone, and through nginx the next look may meet another.
  const looks = past.get(reply.replica) ?? [];
  looks.push({ at: reply.at, requests: now.sum("retrieval_requests_total", ({ endpoint }) => endpoint === "/retrieve"),
    queued: now.sum("retrieval_queue_length") });
  past.set(reply.replica, looks.slice(-KEPT));
  return [tiles(now, past.get(reply.replica), info), times(now), caches(now), calibration(now, info),
    el("p", { class: "faint" },
      `Replica ${reply.replica}, since it started; looked at again every ${EVERY / 1000} s.`)];
}

/** Samples by name, summed over labels. */
class Metrics {
  constructor(samples) {
    this.byName = Map.groupBy ? Map.groupBy(samples, (sample) => sample.name) : grouped(samples);
  }

  of(name) { return this.byName.get(name) ?? []; }

  sum(name, fits = () => true) {
    return this.of(name).reduce((total, { labels, value }) => total + (fits(labels) ? value : 0), 0);
  }

  mean(name, fits) { return this.sum(`${name}_sum`, fits) / this.sum(`${name}_count`, fits); }

  /** A quantile of a histogram, by its buckets. */
  quantile(name, wanted, fits = () => true) {
    const below = new Map();
    for (const { labels, value } of this.of(`${name}_bucket`)) {
      if (fits(labels)) below.set(labels.le, (below.get(labels.le) ?? 0) + value);
    }
    const edges = [...below].map(([edge, value]) => [edge === "+Inf" ? Infinity : Number(edge), value])
      .sort((a, b) => a[0] - b[0]);
    const all = edges.at(-1)?.[1] ?? 0;
    let low = 0, before = 0;
    for (const [edge, value] of all ? edges : []) {
      if (value >= wanted * all) {
        return edge === Infinity ? low : low + (edge - low) * ((wanted * all - before) / (value - before || 1));
      }
      [low, before] = [edge, value];
    }
    return null;
  }
}

function grouped(samples) {
  const found = new Map();
  for (const sample of samples) found.set(sample.name, [...(found.get(sample.name) ?? []), sample]);
  return found;
}

function tile(title, value, ...below) {
  return el("div", { class: "tile" }, el("h2", {}, title), el("p", { class: "value" }, value), below);
}

function tiles(now, looks, info) {
  const bundle = ({ bundle_id: id }) => id === info.bundle.bundle_id;
  const measured = now.sum("retrieval_live_overlap_count", bundle);
  const predicted = now.sum("retrieval_calibration_predicted_total", bundle);
  const observed = now.sum("retrieval_calibration_observed_total", bundle);
  const used = now.of("retrieval_user_cache_total"), all = used.reduce((sum, { value }) => sum + value, 0);
  const hits = now.sum("retrieval_user_cache_total", ({ result }) => ["local", "redis"].includes(result));
  const rates = looks.slice(1).map((one, at) => Math.max(0, (one.requests - looks[at].requests)
    / Math.max(one.at - looks[at].at, 0.001)));
  const queued = now.sum("retrieval_queue_length"), limit = now.sum("retrieval_queue_limit");
  const failed = now.sum("retrieval_requests_total", ({ status }) => Number(status) >= 500);
  return el("div", { class: "tiles" },
    tile("Live overlap", measured ? fixed(now.mean("retrieval_live_overlap", bundle)) : "–",
      el("p", {}, measured ? `of ${count(measured)} sampled answers` : "no answer was sampled yet")),
    tile("Calibration", predicted ? `${number(observed / predicted)} ×` : "–",
      el("p", {}, predicted ? "labels observed / predicted" : "no impression was sampled yet")),
    tile("User cache", all ? share(hits / all, 0) : "–", el("p", {}, all ? `hits of ${count(all)}` : "not asked yet")),
    tile("Queue", count(queued),
      el("p", {}, `of ${count(limit)}; ${count(now.sum("retrieval_in_flight"))} in flight`),
      sparkline(looks.map((one) => one.queued), "Queue length lately")),
    tile("Requests", rates.length ? `${number(rates.at(-1), 3)}/s` : "–",
      el("p", {}, `${count(now.sum("retrieval_requests_total"))} calls, ${count(failed)} failed`),
      rates.length > 1 && sparkline(rates, "Requests a second lately")),
    tile("Answer", shown(now.quantile("retrieval_stage_seconds", 0.5, ({ stage }) => stage === "total")),
      el("p", {}, `p50; p99 ${
        shown(now.quantile("retrieval_stage_seconds", 0.99, ({ stage }) => stage === "total"))}`)));
}

const shown = (seconds) => (seconds === null ? "–" : ms(seconds * 1000));

function times(now) {
  const stages = ["total", "queue", "features", "cache", "user_tower", "search", "scorer"];
  const levels = [...new Set(now.of("retrieval_level_seconds_count").map(({ labels }) => labels.level))].sort();
  const row = (text, name, fits, pairs) =>
    [text, shown(now.quantile(name, 0.5, fits)), shown(now.quantile(name, 0.99, fits)), pairs];
  return card("Time", table("Time by stage and level", [["Stage"], ["p50", true], ["p99", true], ["Pairs", true]], [
    ...stages.map((name) => row(name.replace("_", " "), "retrieval_stage_seconds", ({ stage }) => stage === name, "")),
    ...levels.map((name) => row(`level ${name}`, "retrieval_level_seconds", ({ level }) => level === name,
      count(now.sum("retrieval_pairs_scored_total", ({ level }) => level === name))))]));
}

function caches(now) {
  const used = now.of("retrieval_user_cache_total"), all = used.reduce((sum, { value }) => sum + value, 0) || 1;
  const refused = now.of("retrieval_admission_refused_total").filter(({ value }) => value);
  return card("Cache, changes, refusals", table("User cache", [["Embedding from"], ["Requests", true], ["Share"]],
    used.map(({ labels, value }) => [labels.result, count(value), bar(value / all, share(value / all, 0))])),
  facts([["Refused", refused.map(({ labels, value }) => `${count(value)} × ${labels.reason}`).join(", ") || "none"],
    ["Degraded", count(now.sum("retrieval_degraded_total"))],
  ["Ads added", count(now.sum("retrieval_ads_added"))], ["Ads withdrawn", count(now.sum("retrieval_ads_withdrawn"))],
  ["Ads unfit", count(now.sum("retrieval_ads_unfit"))],
  ["Change applied", now.of("retrieval_changes_applied").map(({ value }) => count(value)).join(", ") || null],
  ["Redis failures", count(now.sum("retrieval_redis_failures_total"))],
  ["Log lines dropped", count(now.sum("retrieval_log_lines_dropped_total"))]]));
}

function calibration(now, info) {
  const rows = info.tasks.map((task) => {
    const fits = (labels) => labels.task === task && labels.bundle_id === info.bundle.bundle_id;
    const predicted = now.sum("retrieval_calibration_predicted_total", fits);
    const observed = now.sum("retrieval_calibration_observed_total", fits);
    return [task, number(predicted), number(observed), predicted ? `${number(observed / predicted)} ×` : "–"];
  });
  return card("Calibration", table("Calibration of sampled impressions", [["Task"], ["Predicted", true],
    ["Observed", true], ["Ratio", true]], rows));
}
