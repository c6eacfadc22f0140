// Walk: the beam's way through the tree, level by level, with what was pruned and by how much.

import { ask } from "./api.js";
import { spread, walk } from "./charts.js";
import { announce, answered, card, el, facts, link, table } from "./elements.js";
import { requestForm } from "./request_form.js";
import { count, fixed, money, ms, plural, share, signed } from "./words.js";

export async function show(place, { info, signal }) {
  const answer = el("div", { class: "answer" });
  const form = requestForm(info, (body) => answered(answer, signal, () => found(body, info, signal)),
    { verb: "Walk" });
  place.append(card(null, form), answer);
}

async function found(body, info, signal) {
  const reply = await ask("admin", "/admin/walk", { body, signal });
  const depth = info.bundle.levels.length, unit = reply.rank_by === "ecpm" ? "eCPM" : "score";
  announce(`${plural(reply.levels.length, "level")} of the tree`);
  return [
    card(null, facts([
      ["Eligible", `${count(reply.eligible)} of ${plural(reply.ads, "ad")}`],
      ["Pairs scored", `${count(reply.pairs_scored)}, ${share(reply.pairs_scored / Math.max(reply.ads, 1))
      } of the ads`],
      ["Coverage", reply.coverage < 1 ? share(reply.coverage) : null], ["Ranked by", unit]]),
    walk(reply.levels, depth),
    el("p", { class: "legend" }, el("span", {}, el("span", { class: "dot kept" }), " kept"),
      el("span", {}, el("span", { class: "dot dropped" }), " dropped"), "at most 100 and 50 of a level are drawn")),
    reply.levels.map((level) => levelCard(level, level.level === depth, unit)),
  ];
}

function levelCard(level, last, unit) {
  const title = last ? "The ads" : `Level ${level.level}`;
  if (!level.scored) {
    return card(title, el("p", {},
      `All ${plural(level.candidates, "candidate")} fit into the beam, so none was scored.`));
  }
  const value = (node) => (unit === "eCPM" ? money(node.ecpm) : fixed(node.score));
  const margin = (node) => (node.margin === null ? "–" : unit === "eCPM" ? money(node.margin) : signed(node.margin));
  const kept = level.nodes.filter((node) => node.kept), dropped = level.nodes.filter((node) => !node.kept);
  const columns = [["Rank", true], [last ? "Ad" : "Node"], ...(last ? [] : [["Ads", true], ["Eligible", true]]),
    [unit === "eCPM" ? "eCPM" : "Score", true], ["Margin", true], [""]];
  const row = (node) => ({ class: node.kept ? "kept" : "dropped", cells: [
    count(node.rank), last ? link("ad", { id: node.ad_id }, node.ad_id)
      : el("span", {}, link("tree", { level: level.level, node: node.node }, `node ${node.node}`),
        el("span", { class: "faint" }, ` ${node.ad_id}`)),
    ...(last ? [] : [count(node.ads), count(node.eligible)]), value(node), margin(node),
    node.kept ? (last ? "returned" : "kept") : "dropped"] });
  return card(title,
    el("p", {}, `${plural(level.candidates, "candidate")}, ${count(level.kept)} ${last ? "returned" : "kept"}, `
      + `${count(level.scored - level.kept)} dropped`
      + `${last ? "" : `, and with them ${plural(level.eligible_dropped, "eligible ad")}`}. ${ms(level.ms)}.`),
    level.spread && spread(level.spread, unit),
    dropped.length > 0 && el("p", { class: "faint" }, `The closest call: ${last ? dropped[0].ad_id
      : `node ${dropped[0].node}`} missed by ${margin(dropped[0]).replace("−", "")}.`),
    el("details", {}, el("summary", {}, `${count(kept.length)} kept and the ${count(dropped.length)} closest`),
      table(`${title}: candidates by rank`, columns, level.nodes.map(row))));
}
