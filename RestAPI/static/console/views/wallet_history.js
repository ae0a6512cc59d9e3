// The history of a wallet: narrowed, endless, with a way to reverse.

import { ask } from "/static/console/api.js";
import { say } from "/static/console/chrome.js";
import { openDialog } from "/static/console/dialog.js";
import { h, spoken } from "/static/console/dom.js";
import { amountField, choice, field, form, reading, tick } from "/static/console/form.js";
import { language, t } from "/static/console/i18n.js";
import { decimalsOf, parseAmount } from "/static/console/money.js";
import {
  dayAsInstant,
  moment,
  money,
  moneyText,
  shortId,
  shortMoment,
} from "/static/console/parts.js";
import { endless, row } from "/static/console/table.js";
import { MAX_TEXT_CHARACTERS } from "/static/console/views/wallet_actions.js";

const TYPES = [
  "DEPOSIT",
  "WITHDRAW",
  "TRANSFER_IN",
  "TRANSFER_OUT",
  "CAPTURE_IN",
  "CAPTURE_OUT",
  "REVERSAL_IN",
  "REVERSAL_OUT",
  "PURCHASE_IN",
  "PURCHASE_OUT",
];
const FILTER_PAUSE_MILLISECONDS = 250;

/** The operations of a wallet, newest first. */
export function history(shared) {
  const { may, access, signal, path } = shared;
  const mayReverse = may("wallets:write") && !access.owner;
  const columns = [
    { label: t("history.time"), class: "time" },
    { label: t("history.type") },
    { label: t("history.amount"), class: "amount" },
    { label: t("history.after"), class: "amount" },
    { label: t("history.about") },
    ...(mayReverse ? [{ label: t("history.do"), class: "do" }] : []),
  ];
  const list = endless({
    label: t("history.title"),
    columns,
    path: `${path}/operations`,
    draw: (operation, fresh) =>
      operationRow(columns, operation, fresh, mayReverse && (() => reverse(shared, operation))),
    nothing: () => h("p", { class: "nothing" }, t("history.none")),
    signal,
  });
  const filters = filterForm(() => list.read(filters.values()).catch(() => {})); // the list says it
  const element = h(
    "section",
    { "aria-label": t("history.title") },
    h("h2", {}, t("history.title")),
    filters.element,
    list.element,
  );
  let begun = false;
  const renew = () => {
    if (begun) return list.renew();
    begun = true;
    return list.read(filters.values());
  };
  return { element, renew };
}

function operationRow(columns, operation, fresh, onreverse) {
  const { operation_type: type, amount, currency } = operation;
  const comesIn = type === "DEPOSIT" || type.endsWith("_IN");
  const reversible = onreverse && !type.startsWith("REVERSAL");
  return row(
    columns,
    [
      shortMoment(operation.created_at),
      h("span", { class: `kind ${comesIn ? "in" : "out"}` }, t(`operation.${type}`)),
      h(
        "span",
        { class: comesIn ? "in" : "out" },
        comesIn ? money(amount, currency, { plus: true }) : money(`-${amount}`, currency),
      ),
      money(operation.new_balance),
      aboutOperation(operation),
      reversible &&
        h(
          "button",
          { type: "button", class: "quiet", onclick: onreverse },
          t("reverse.button"),
          h(
            "span",
            { class: "spoken" },
            ` ${t(`operation.${type}`)} ${moneyText(amount, currency)}`,
          ),
        ),
    ].slice(0, columns.length),
    { class: fresh ? "fresh" : undefined },
  );
}

function aboutOperation(operation) {
  const { reference, description, counterparty_wallet_id: other } = operation;
  const parts = [
    reference && h("code", {}, reference),
    description && h("span", {}, description),
    other &&
      h("a", { href: `#/wallets/${other}` }, spoken(t("history.other")), " ", shortId(other)),
    operation.reversed_operation_id &&
      h("small", {}, t("history.undoes"), " ", shortId(operation.reversed_operation_id)),
  ].filter(Boolean);
  return parts.length ? h("div", { class: "about" }, parts) : null;
}

function filterForm(act) {
  const types = TYPES.map((type) => [type, t(`operation.${type}`)]);
  const element = h(
    "form",
    { class: "filters", role: "search", "aria-label": t("history.filter") },
    field("reference", t("operation.reference"), {
      type: "search",
      maxlength: MAX_TEXT_CHARACTERS,
    }),
    choice("type", t("history.type"), [["", t("filter.all")], ...types], ""),
    field("from", t("period.from"), { type: "date" }),
    field("to", t("period.to"), { type: "date" }),
  );
  const values = () => {
    const { type, from, to, reference } = Object.fromEntries(new FormData(element));
    return {
      type,
      from: dayAsInstant(from),
      to: dayAsInstant(to, { after: true }),
      reference: reference.trim(),
    };
  };
  let timer;
  element.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(act, FILTER_PAUSE_MILLISECONDS);
  });
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    act();
  });
  return { element, values };
}

/** Ask how much of an operation is to be undone. */
function reverse({ may, signal, refresh }, operation) {
  const { id, amount, currency, operation_type: type } = operation;
  const content = (close) => [
    h(
      "p",
      {},
      t(`operation.${type}`),
      ", ",
      money(amount, currency),
      ", ",
      moment(operation.created_at),
    ),
    form({
      button: t("reverse.button"),
      danger: true,
      fields: [
        amountField("amount", t("form.amount"), currency, { hint: t("reverse.amount_hint") }),
        field("reference", t("operation.reference"), { maxlength: MAX_TEXT_CHARACTERS }),
        may("admin") && tick("allow_negative", t("reverse.allow_negative")),
      ],
      act: async (typed, idempotencyKey) => {
        const body = {};
        if (typed.amount.trim())
          body.amount = reading("amount", () => parseAmount(typed.amount, decimalsOf(amount), language()));
        if (typed.reference.trim()) body.reference = typed.reference.trim();
        if (typed.allow_negative) body.allow_negative = true;
        await ask("POST", `operations/${id}/reversal`, { body, idempotencyKey });
        close();
        say(t("reverse.done"));
        await refresh();
      },
    }),
  ];
  openDialog({ title: t("reverse.title"), content, signal });
}
