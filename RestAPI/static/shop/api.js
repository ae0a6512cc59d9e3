// Talks to the shop, whose errors are `{"errors": text}`. Numbers of coins stay texts: one may be beyond
// what a number of JavaScript holds.

import { Refusal } from "/static/console/api.js";

const KEPT_AS = "coffer.shop.token";
const NUMBERS = /("(?:coins|amount|price|quantity)":)(\d+)/g;

/** The event of the window that tells of a token whose time is over. */
export const EXPIRED = "coffer:expired";

// The shop says what is wrong in a text; by it the field is found, and words of another language.
const KNOWN = [
  [/^There are too few coins/, "shop_too_few_coins", "amount"],
  [/^There is no user/, "shop_no_user", "toUser"],
  [/not to oneself/, "shop_oneself", "toUser"],
  [/^There is no item/, "shop_no_item"],
  [/^The password is not/, "shop_wrong_password", "password"],
  [/frozen/, "wallet_frozen"],
  [/cannot take so many/, "shop_no_room", "amount"],
  [/^The shop is closed/, "shop_closed"],
];
const CODE_OF_STATUS = { 409: "idempotency_key_reused", 429: "rate_limited", 503: "unavailable" };

/** The token of who has logged in, kept in this tab until it is closed. */
export const token = {
  get: () => sessionStorage.getItem(KEPT_AS),
  set: (value) => sessionStorage.setItem(KEPT_AS, value),
  forget: () => sessionStorage.removeItem(KEPT_AS),
  /** Whose it is; null if it is none. */
  name: () => {
    try {
      const [, claims] = token.get().split(".");
      const bytes = Uint8Array.from(atob(claims.replaceAll("-", "+").replaceAll("_", "/")), (one) => one.charCodeAt(0));
      return JSON.parse(new TextDecoder().decode(bytes)).sub;
    } catch {
      return null;
    }
  },
};

/**
 * Ask the shop. `body` is JSON as text.
 *
 * @returns the answer's JSON with its numbers as texts, or null where it has none
 * @throws {Refusal}
 */
export async function ask(method, path, { body, idempotencyKey, signal } = {}) {
  const asWhom = token.get();
  const headers = {};
  if (asWhom) headers.Authorization = `Bearer ${asWhom}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (idempotencyKey) headers["Idempotency-Key"] = idempotencyKey;
  let response;
  let text;
  try {
    response = await fetch(`/api/${path}`, { method, headers, body, signal, cache: "no-store" });
    text = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, { code: "unreachable", title: "The shop does not answer." });
  }
  if (response.ok) return text === "" ? null : JSON.parse(text.replace(NUMBERS, '$1"$2"'));
  if (response.status === 401 && asWhom && token.get() === asWhom) {
    token.forget();
    window.dispatchEvent(new Event(EXPIRED));
  }
  throw refusal(response, text);
}

function refusal(response, text) {
  let detail = response.statusText;
  try {
    detail = JSON.parse(text).errors ?? detail;
  } catch {
    // Somebody in between has answered, not the shop.
  }
  const [, code = CODE_OF_STATUS[response.status] ?? `http_${response.status}`, named] =
    KNOWN.find(([rule]) => rule.test(detail)) ?? [];
  const where = named ?? detail.match(/\b(username|password|toUser|amount)\b/)?.[1];
  return new Refusal(response.status, { code, detail, errors: where ? [{ where, what: detail }] : [] });
}
