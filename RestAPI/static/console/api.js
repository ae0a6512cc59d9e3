// Talks to the service. Every answer that is not good becomes a Refusal.

const KEPT_AS = "coffer.key";
/** The event of the window that tells of a key that is missing or no longer good. */
export const UNAUTHORIZED = "coffer:unauthorized";

const FIRST_PAUSE_MILLISECONDS = 1000;
const POLL_MILLISECONDS = 3000;
const LONGEST_PAUSE_MILLISECONDS = 15_000;
const POLLED_PAGE_ITEMS = 50;
// A burst between two polls is read page by page, and ends somewhere even if its begin is gone.
const MOST_POLLED_PAGES = 100;
// The service says something at least every 15 seconds.
const LONGEST_SILENCE_MILLISECONDS = 45_000;

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
  try {
    const text = await response.text();
    return text === "" ? null : JSON.parse(text);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw away(); // it broke off on the way, or somebody in between has answered
  }
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
    throw away();
  }
  if (!response.ok) {
    if (response.status === 401) window.dispatchEvent(new Event(UNAUTHORIZED));
    throw await refusal(response);
  }
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

function away() {
  return new Refusal(0, { code: "unreachable", title: "The service does not answer." });
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
 * Follow a stream of Server-Sent Events until `signal` aborts: EventSource cannot send a key. Comes
 * back by itself after a pause, from its last event on; where streams are cut or have no place it
 * polls. `query` narrows what is followed, as wallet_id does. Whoever needs every item reads the
 * state anew at each `onstate`: what happens between two connections before the first item is not
 * told.
 *
 * @param {{onitem: (item: object) => void, onstate: (state: "stream"|"poll"|"away") => void,
 *   signal: AbortSignal, query?: Record<string, string>}} options
 * @throws {Refusal} where the key is not good (any more) for it
 */
export async function follow({ onitem, onstate, signal, query = {} }) {
  let last;
  let newest;
  let pause = FIRST_PAUSE_MILLISECONDS;
  const taken = (item, cursor) => {
    last = cursor ?? last;
    pause = FIRST_PAUSE_MILLISECONDS;
    if (item) onitem(item);
  };
  const opened = () => {
    pause = FIRST_PAUSE_MILLISECONDS;
    onstate("stream");
  };
  while (!signal.aborted) {
    try {
      await stream(query, last, taken, opened, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 401 || error.status === 403) throw error;
      try {
        if (last) await pollFrom(query, last, taken, signal);
        else newest = await pollNewest(query, newest, onitem, signal);
        onstate("poll");
        pause = POLL_MILLISECONDS;
      } catch (failed) {
        if (signal.aborted) return;
        if (failed.status === 401 || failed.status === 403) throw failed;
        onstate("away");
        pause = Math.min(pause * 2, LONGEST_PAUSE_MILLISECONDS);
      }
    }
    await rest(pause, signal);
  }
}

async function stream(query, last, taken, onopen, signal) {
  const headers = { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": last } : {}) };
  const response = await send("GET", "notifications/stream", { query, headers, signal });
  onopen();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await heard(reader);
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

/** What comes next of a stream; one that says nothing for long is broken, and is given up. */
async function heard(reader) {
  let timer;
  const silence = new Promise((_, reject) => {
    timer = setTimeout(
      () => reject(new Error("The stream is silent.")),
      LONGEST_SILENCE_MILLISECONDS,
    );
  });
  try {
    return await Promise.race([reader.read(), silence]);
  } catch (error) {
    reader.cancel().catch(() => {});
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Take what has come after a cursor, by pages. */
async function pollFrom(query, cursor, taken, signal) {
  for (;;) {
    const found = await page("notifications", { ...query, order: "oldest", cursor }, signal);
    for (const item of found.items) taken(item, undefined);
    taken(null, found.next_cursor);
    cursor = found.next_cursor;
    if (found.items.length === 0) return;
  }
}

/**
 * Take what has come after the item `known`, where no cursor is known: the newest pages down to it.
 * The first time nothing is taken, it is only found out where that is. Returns the id of the newest
 * item.
 */
async function pollNewest(query, known, onitem, signal) {
  const come = [];
  let cursor = null;
  for (let pages = 0; pages < MOST_POLLED_PAGES; pages += 1) {
    const found = await page(
      "notifications",
      { ...query, limit: POLLED_PAGE_ITEMS, cursor },
      signal,
    );
    if (known === undefined) return found.items[0]?.id ?? "";
    const at = found.items.findIndex(({ id }) => id === known);
    come.push(...found.items.slice(0, at === -1 ? undefined : at));
    cursor = found.next_cursor;
    if (at !== -1 || cursor === null) break;
  }
  for (const item of [...come].reverse()) onitem(item);
  return come[0]?.id ?? known;
}

function rest(milliseconds, signal) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    signal.addEventListener("abort", end);
  });
}
