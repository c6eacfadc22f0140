// Calls to the service: tokens, refusals, and patience while it is down.

const KEPT = "tokens";
const PATIENCE = [1, 2, 4, 8]; // seconds before the next try; the last one repeats

/** A refusal by the service: its status and the fields of its error reply. */
export class Refused extends Error {
  constructor(status, body) {
    super(body.message ?? `status ${status}`);
    this.status = status;
    this.type = body.error_type ?? "";
    this.help = body.help ?? "";
    this.details = body.details ?? "";
  }
}

/** The tokens of this tab, by scope. */
export function tokens() {
  return JSON.parse(sessionStorage.getItem(KEPT) ?? "{}");
}

export function keepTokens(given) {
  const kept = Object.fromEntries(Object.entries(given).filter(([, value]) => value));
  if (Object.keys(kept).length) sessionStorage.setItem(KEPT, JSON.stringify(kept));
  else sessionStorage.removeItem(KEPT);
}

let told = () => {};
/** Sets who is told whether the service answers: null if it does, else why not and in how many seconds it is tried. */
export function onTrouble(listener) {
  told = listener;
}

/** The decoded answer to a call that may be repeated: it is, until the service answers or `signal` ends it. */
export async function ask(scope, path, { body, signal } = {}) {
  for (let tries = 0; ; tries += 1) {
    try {
      const answer = await once(scope, path, { body, signal, method: body === undefined ? "GET" : "POST" });
      told(null);
      return answer;
    } catch (error) {
      const pause = pauseAfter(error, tries);
      if (pause === null) throw error;
      told({ why: reason(error), seconds: pause });
      await passed(pause, signal);
    }
  }
}

/** The decoded answer to a call that is made once, whatever happens. */
export async function once(scope, path, { body, signal, method = "POST" } = {}) {
  const all = tokens(), token = all[scope] ?? all.admin;
  const headers = { accept: "application/json" };
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const reply = await fetch(path, {
    method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body), cache: "no-store",
    credentials: "omit",
  });
  const found = await reply.json().catch(() => ({}));
  if (reply.ok) return found;
  const refused = new Refused(reply.status, found);
  refused.retryAfter = Number(reply.headers.get("retry-after")) || 0;
  throw refused;
}

function pauseAfter(error, tries) {
  const usual = PATIENCE[Math.min(tries, PATIENCE.length - 1)];
  if (error instanceof TypeError) return usual; // no reply at all
  if (!(error instanceof Refused)) return null; // left, or a defect of the page
  const passing = [429, 502, 503, 504].includes(error.status) && error.type !== "change_log_unavailable";
  return passing ? Math.max(usual, error.retryAfter) : null;
}

function reason(error) {
  return error instanceof Refused ? `${error.status} ${error.type}: ${error.message}` : "The service does not answer";
}

function passed(seconds, signal) {
  return new Promise((resolve, reject) => {
    const end = () => reject(new DOMException("left", "AbortError"));
    if (signal?.aborted) { end(); return; }
    const timer = setTimeout(() => { signal?.removeEventListener("abort", left); resolve(); }, seconds * 1000);
    function left() { clearTimeout(timer); end(); }
    signal?.addEventListener("abort", left, { once: true });
  });
}
