// The ledger as a whole: whether the books balance, what happened, and how the service is.

import { ask } from "/static/console/api.js";
import { openDialog } from "/static/console/dialog.js";
import { fill, h } from "/static/console/dom.js";
import { inWords } from "/static/console/form.js";
import { t } from "/static/console/i18n.js";
import { isZero } from "/static/console/money.js";
import { money } from "/static/console/parts.js";
import { row, table } from "/static/console/table.js";
import { events } from "/static/console/views/ledger_events.js";
import { messageForm } from "/static/console/views/ledger_message.js";
import { service } from "/static/console/views/ledger_service.js";

/** Seldom: the service reads every entry for it. */
const BALANCE_AGAIN_MILLISECONDS = 300_000;

/** Show the ledger. A part that the key does not reach says so; the others do not mind. */
export async function show({ access, may, query, keep, signal }) {
  const balance = trialBalance(signal);
  const log = events({ query, keep, signal });
  const health = service({ may, signal });
  const send = () =>
    openDialog({
      title: t("ledger.message"),
      content: () => messageForm({ access, onsent: () => log.renew() }),
      signal,
    });
  await Promise.all([balance.read(), log.begin(), health.begin()]);
  balance.keepUp();
  return [
    h(
      "div",
      { class: "title" },
      h("h1", {}, t("nav.ledger")),
      may("wallets:write") && h("button", { type: "button", class: "primary", onclick: send }, t("ledger.message")),
    ),
    balance.element,
    health.element,
    log.element,
  ];
}

/** What came in, what went out, what is there: per currency, with an alarm where that is not the same. */
function trialBalance(signal) {
  const state = h("p", { class: "books" });
  const content = h("div", {});
  const element = h("section", { "aria-label": t("ledger.balance") }, h("h2", {}, t("ledger.balance")), state, content);
  const columns = [
    { label: t("wallet.currency") },
    { label: t("ledger.deposits"), class: "amount" },
    { label: t("ledger.withdrawals"), class: "amount" },
    { label: t("ledger.balances"), class: "amount" },
    { label: t("ledger.difference"), class: "amount" },
  ];
  let known = null;
  const draw = ({ balanced, currencies }) => {
    const text = t(balanced ? "ledger.balanced" : "ledger.unbalanced");
    state.className = balanced ? "books good" : "books alarm";
    if (state.textContent !== text) {
      if (balanced) state.removeAttribute("role");
      else state.setAttribute("role", "alert");
      fill(state, text);
    }
    if (currencies.length === 0) return fill(content, h("p", { class: "nothing" }, t("ledger.no_money")));
    const { element: drawn, body } = table(t("ledger.balance"), columns);
    body.append(...currencies.map((one) => currencyRow(columns, one)));
    return fill(content, drawn);
  };
  const read = async () => {
    try {
      const found = await ask("GET", "ledger/trial-balance", { signal });
      if (JSON.stringify(found) !== JSON.stringify(known)) draw(found);
      known = found;
    } catch (error) {
      if (signal.aborted || error.status === 401) throw error;
      known = null;
      state.className = "books";
      fill(state);
      fill(content, h("p", { class: "soft" }, error.status === 403 ? t("ledger.not_yours") : inWords(error)));
    }
  };
  const keepUp = () => {
    const timer = setInterval(() => document.hidden || read().catch(() => {}), BALANCE_AGAIN_MILLISECONDS);
    signal.addEventListener("abort", () => clearInterval(timer));
  };
  return { element, read, keepUp };
}

function currencyRow(columns, { currency, deposits, withdrawals, balances, difference }) {
  const wrong = !isZero(difference);
  return row(
    columns,
    [
      h("strong", {}, currency),
      money(deposits),
      money(withdrawals),
      money(balances),
      h("span", { class: wrong ? "difference alarm" : "difference" }, money(difference)),
    ],
    wrong ? { class: "alarm" } : {},
  );
}
