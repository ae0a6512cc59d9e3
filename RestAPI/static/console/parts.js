// What several views show of wallets and amounts.

import { h } from "/static/console/dom.js";
import { language, shortWhen, t, when } from "/static/console/i18n.js";
import { formatAmount } from "/static/console/money.js";

/** An amount for people, with its currency. `sign` puts a plus before what comes in. */
export function money(amount, currency, { plus = false } = {}) {
  return h(
    "span",
    { class: "money" },
    (plus ? "+" : "") + formatAmount(amount, language()),
    currency && ["\u00a0", h("span", { class: "currency" }, currency)],
  );
}

/** The same as a text. */
export function moneyText(amount, currency) {
  return `${formatAmount(amount, language())}\u00a0${currency}`;
}

/** A status in words, with a sign and a colour of its own. */
export function status(name) {
  return h("span", { class: `badge ${name}` }, t(`status.${name}`));
}

/** What a wallet is called: by its name, else by its owner, else by the end of its id. */
export function nameOf(wallet) {
  return wallet.name ?? wallet.owner ?? shortId(wallet.id);
}

/** The end of an id, which differs even of ids of the same second. */
export function shortId(id) {
  return `…${id.slice(-8)}`;
}

/** A moment, as people of the language write it; the machine's form for whoever points at it. */
export function moment(instant) {
  return h("time", { datetime: instant, title: instant }, when(instant));
}

/** The same for tables. */
export function shortMoment(instant) {
  return h("time", { datetime: instant, title: when(instant) }, shortWhen(instant));
}

/** The first moment of a day that was chosen, or of the day after it, as the service reads it. */
export function dayAsInstant(chosen, { after = false } = {}) {
  if (!chosen) return undefined;
  const [year, month, day] = chosen.split("-").map(Number);
  return new Date(year, month - 1, day + (after ? 1 : 0)).toISOString();
}

/** The first deposit by hand. */
export function firstDeposit(access) {
  const key = access.access === "keys" ? ['-H "Authorization: Bearer $COFFER_KEY"'] : [];
  const call = (path, ...options) =>
    [`curl -X POST ${location.origin}${path}`, ...key, ...options].join(" \\\n  ");
  const lines = [
    call("/api/v1/wallets"),
    call(
      "/api/v1/wallets/WALLET_ID/operation",
      "-H 'Content-Type: application/json' -H 'Idempotency-Key: first-WALLET_ID'",
      `-d '{"operation_type": "DEPOSIT", "amount": "10.50"}'`,
    ),
  ];
  return h(
    "pre",
    { tabindex: "0", role: "region", "aria-label": t("about.example") },
    h("code", {}, lines.join("\n\n")),
  );
}
