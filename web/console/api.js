// Requests to the node that this page came from.
// Owns: the key in this tab's session storage, and what the clocks of nodes say. Never: puts the key into an address, a
// log or anywhere else. Survives a node that does not answer: a request is given up after a while and says why.

const KEY = "carillon.console.key";
// A busy node answers in well under that. Longer, and the page shows old things without saying so; shorter, and one
// that is slow because the database is away (5 s) is never heard.
const LIMIT_MS = 8_000;
// By the page's own address, so that it works below a prefix of a proxy too.
const ROOT = new URL("../api/v1/", document.baseURI);

/** What was not answered as hoped. `status` 0: not answered at all. */
export class ApiError extends Error {
  constructor(status, code, message, { requestId, traceId, retryAfterMs } = {}) {
    super(message);
    Object.assign(this, { status, code, requestId, traceId, retryAfterMs });
  }

  /** Whether the key is the reason. */
  get isSignedOut() { return this.status === 401; }

  /** A sentence for people. */
  get words() {
    const of = [this.requestId && `request ${this.requestId}`, this.traceId && `trace ${this.traceId}`].filter(Boolean).join(", ");
    return this.status === 0 ? this.message : [`${this.message}: ${this.code}`, of].filter(Boolean).join("; ");
  }
}

let key = sessionStorage.getItem(KEY);
let onRefused = () => {};
// How far the nodes' clock, which is the database's, is ahead of this machine's.
let aheadMs = 0;

export const session = {
  get isOpen() { return key !== null; },
  open(newKey) { key = newKey; sessionStorage.setItem(KEY, newKey); },
  close() { key = null; sessionStorage.removeItem(KEY); },
  /** Called when a node does not take the key any more. */
  whenRefused(then) { onRefused = then; },
};

/** Now, by the nodes' clock, in milliseconds since 1970: ages are right also where this machine's clock is not. */
export const now = () => Date.now() + aheadMs;

/** A path of ids, each percent-encoded: `` path`calls/${id}/timeline` ``. */
export function path(parts, ...ids) {
  return parts.reduce((text, part, n) => text + encodeURIComponent(ids[n - 1]) + part);
}

function address(where, query = {}) {
  const url = new URL(where, ROOT);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
  }
  return url;
}

async function problemOf(answer) {
  const body = await answer.json().catch(() => ({}));
  const seconds = Number(answer.headers.get("retry-after"));
  const told = { requestId: answer.headers.get("x-request-id"), traceId: body.traceId, retryAfterMs: seconds > 0 ? seconds * 1_000 : undefined };
  const code = typeof body.code === "string" ? body.code : `HTTP ${answer.status}`;
  return new ApiError(answer.status, code, String(body.detail ?? body.title ?? "the node refused"), told);
}

async function send(method, where, { query, body, signal } = {}) {
  // What cannot stand in a header is no key.
  if (!/^[\x21-\x7e]+$/.test(key ?? "")) throw new ApiError(401, "unauthenticated", "no key or token has such characters");
  const signals = [AbortSignal.timeout(LIMIT_MS), signal].filter(Boolean);
  const headers = { authorization: `Bearer ${key}` };
  if (body !== undefined) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(address(where, query), {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.any(signals), cache: "no-store", credentials: "omit", redirect: "error",
    });
    if (!answer.ok) throw await problemOf(answer);
    const text = await answer.text();
    const data = text === "" ? null : JSON.parse(text);
    const at = Date.parse(data?.serverTime);
    if (!Number.isNaN(at)) aheadMs = at - Date.now();
    return data;
  } catch (error) {
    if (error instanceof ApiError) throw error;
    if (signal?.aborted) throw error;
    const late = error.name === "TimeoutError";
    throw new ApiError(0, "unreachable", late ? `no answer in ${LIMIT_MS / 1_000} s` : "no connection");
  }
}

async function asked(method, where, options) {
  try {
    return await send(method, where, options);
  } catch (error) {
    if (error instanceof ApiError && error.isSignedOut && key !== null) onRefused(error);
    throw error;
  }
}

/** Asks for something. `query`: fields that are empty are left out. */
export const get = (where, query, signal) => asked("GET", where, { query, signal });
/** Does something. */
export const post = (where, body = {}) => asked("POST", where, { body });
/** Takes something away. */
export const remove = (where) => asked("DELETE", where);
