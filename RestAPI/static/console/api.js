// Talks to the service. Every answer that is not good becomes a Refusal.

const KEPT_AS = "coffer.key";
const FIRST_PAUSE_MILLISECONDS = 1000;
const LONGEST_PAUSE_MILLISECONDS = 15_000;

/** An answer that is not good, or none. `problem` is as RFC 9457 has it, with a stable `code`. */
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title);
    this.status = status;
    this.problem = problem;
    this.code = problem.code;
  }
}

/** The API key, kept in this tab until it is closed. */
export const key = {
  get: () => sessionStorage.getItem(KEPT_AS),
  set: (value) => sessionStorage.setItem(KEPT_AS, value),
  forget: () => sessionStorage.removeItem(KEPT_AS),
};

/**
 * Ask the service. `path` is below /api/v1, or begins with another known part of the service.
 *
 * @returns the answer's JSON, or null where it has none
 * @throws {Refusal} also when the service does not answer, with the code "unreachable"
 */
export async function ask(method, path, { query, body, idempotencyKey, signal } = {}) {
  const response = await send(method, path, { query, body, idempotencyKey, signal });
  const text = await response.text();
  return text === "" ? null : JSON.parse(text);
}

/** The same for an answer that is read by whoever asks: a download, a stream. */
export async function send(method, path, { query, body, idempotencyKey, signal, headers } = {}) {
  const given = { ...headers };
  if (key.get()) given.Authorization = `Bearer ${key.get()}`;
  if (body !== undefined) given["Content-Type"] = "application/json";
  if (idempotencyKey) given["Idempotency-Key"] = idempotencyKey;
  let response;
  try {
    response = await fetch(address(path, query), {
      method,
      headers: given,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      cache: "no-store",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, { code: "unreachable", title: "The service does not answer." });
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

/** Up to how many of the items of a list that is paged, and the cursor of what comes after. */
export async function page(path, query, signal) {
  return ask("GET", path, { query, signal });
}

/** The address of a path with a query; what is empty is left out. */
export function address(path, query = {}) {
  const given = Object.entries(query).filter(
    ([, value]) => value !== undefined && value !== null && value !== "",
  );
  const whole = path.startsWith("/") ? path : `/api/v1/${path}`;
  return given.length ? `${whole}?${new URLSearchParams(given)}` : whole;
}

async function refusal(response) {
  const otherwise = { code: `http_${response.status}`, title: response.statusText };
  try {
    return new Refusal(response.status, { ...otherwise, ...(await response.json()) });
  } catch {
    return new Refusal(response.status, otherwise);
  }
}

/**
 * Follow a stream of Server-Sent Events until `signal` aborts: EventSource cannot send a key. Comes back
 * by itself after a pause, from its last event on; where streams are cut or have no place it polls.
 *
 * @param {{onitem: (item: object) => void, onstate: (state: "stream"|"poll"|"away") => void,
 *   signal: AbortSignal}} options
 */
export async function follow({ onitem, onstate, signal }) {
  let last;
  let pause = FIRST_PAUSE_MILLISECONDS;
  const taken = (item, cursor) => {
    last = cursor ?? last;
    pause = FIRST_PAUSE_MILLISECONDS;
    if (item) onitem(item);
  };
  while (!signal.aborted) {
    try {
      await stream(last, taken, () => onstate("stream"), signal);
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 401 || error.status === 403) throw error;
      if (!(await poll(last, taken, signal))) {
        onstate("away");
        pause = Math.min(pause * 2, LONGEST_PAUSE_MILLISECONDS);
      } else onstate("poll");
    }
    await rest(pause, signal);
  }
}

async function stream(last, taken, onopen, signal) {
  const headers = { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": last } : {}) };
  const response = await send("GET", "notifications/stream", { headers, signal });
  onopen();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const fields = Object.fromEntries(
        event.split("\n").map((line) => [line.split(":", 1)[0], line.slice(line.indexOf(":") + 2)]),
      );
      taken(fields.event === "notification" ? JSON.parse(fields.data) : null, fields.id);
    }
  }
}

/** Take what has come since, by pages. Whether the service answered. */
async function poll(last, taken, signal) {
  try {
    let from = last ?? (await newest(signal));
    for (;;) {
      const found = await page("notifications", { order: "oldest", cursor: from }, signal);
      for (const item of found.items) taken(item, undefined);
      taken(null, found.next_cursor);
      from = found.next_cursor;
      if (found.items.length === 0) return true;
    }
  } catch {
    return false;
  }
}

function rest(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}

/** The cursor after the newest notification of now, for whoever begins to poll. */
async function newest(signal) {
  let cursor;
  for (;;) {
    const found = await page("notifications", { order: "oldest", cursor, limit: 100 }, signal);
    cursor = found.next_cursor;
    if (found.items.length === 0) return cursor;
  }
}
