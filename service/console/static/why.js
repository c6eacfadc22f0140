// Why not: what became of one ad in one request.

import { ask } from "./api.js";
import { announce, answered, card, el, facts, table } from "./elements.js";
import { remember, requestForm } from "./request_form.js";
import { fixed, money, outcome, predicate, refusal, signed } from "./words.js";

export async function show(place, { info, values, signal }) {
  const asked = values.get("ad_id");
  if (asked) remember({ ad_id: asked });
  const answer = el("div", { class: "answer" });
  const form = requestForm(info, (body, given) => answered(answer, signal, () =>
    found({ ...body, ad_id: given.ad_id }, signal)), { extra: { ad_id: "Ad" }, verb: "Explain" });
  place.append(card(null, form), answer);
  if (asked && form.elements.user_id.value) form.sent(); // the user of the view before
}

async function found(body, signal) {
  const reply = await ask("read", "/explain", { body, signal });
  const verdict = sentence(reply);
  announce(verdict);
  const by = reply.refused_by, ranked = reply.kth_ecpm !== null;
  const own = ranked ? money(reply.ecpm) : fixed(reply.score), last = ranked ? money(reply.kth_ecpm)
    : fixed(reply.kth_score);
  return [
    card(null, el("p", { class: `verdict ${reply.outcome}` }, verdict), facts([
      [ranked ? "eCPM" : "Score", reply.level === null ? null : own],
      ["Of the last ad returned", reply.kth_score === null ? null : last],
      ["Rank", reply.rank], ["Margin", reply.margin === null ? null : ranked ? money(reply.margin)
        : signed(reply.margin)],
      ["Refused by", by && refusal(by.by)], ["Clause", by?.clause && `${by.path}: ${predicate(by.clause)}`],
      ["Since change", by?.version ?? null], ["User", reply.user]])),
    reply.path.length > 0 && card("Its path", table("The ad's node at each level",
      [["Level"], ["Node"], ["Score", true], ["Rank", true], ["Margin", true]], reply.path.map((step) => [
        String(step.level), String(step.node), step.score === null ? "not scored" : fixed(step.score),
        step.rank === null ? "–" : String(step.rank),
        step.margin === null ? "–" : step.ecpm === null ? signed(step.margin) : money(step.margin)]))),
  ];
}

function sentence(reply) {
  const missed = reply.margin === null ? ""
    : `, ${Math.abs(reply.margin).toPrecision(3)} below the lowest that was kept`;
  switch (reply.outcome) {
    case "returned": return `${reply.ad_id} is returned, as number ${reply.rank ?? "–"}.`;
    case "filtered": return `${reply.ad_id} is not eligible: ${refusal(reply.refused_by?.by)}.`;
    case "pruned": return `${reply.ad_id} was pruned at level ${reply.level} with its node${missed}.`;
    case "outscored":
      return `${reply.ad_id} was scored, and is outscored${reply.rank ? ` as number ${reply.rank}` : ""}.`;
    default: return `${reply.ad_id} is ${outcome(reply.outcome)}.`;
  }
}
