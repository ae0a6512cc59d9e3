// What moves money: deposit, withdraw, transfer, hold. One form at a time.

import { ask } from "/static/console/api.js";
import { fill, h } from "/static/console/dom.js";
import { FieldWrong, amountField, choice, field, form, reading } from "/static/console/form.js";
import { language, t } from "/static/console/i18n.js";
import { decimalsOf, parseAmount } from "/static/console/money.js";
import { moneyText } from "/static/console/parts.js";
import { walletPicker } from "/static/console/picker.js";

export const MAX_TEXT_CHARACTERS = 255;
const MAX_DESCRIPTION_CHARACTERS = 1000;
const SECONDS_OF = { minutes: 60, hours: 3600, days: 86_400 };
const DEFAULT_HOLD_DAYS = "7";

const KINDS = { deposit: operation("DEPOSIT"), withdraw: operation("WITHDRAW"), transfer, hold };

/** The forms, or why there are none. */
export function actions(shared) {
  const element = h("section", { class: "card actions", "aria-label": t("actions.title") });
  let shown = null;
  let chosen = "deposit";
  const renew = () => {
    const { wallet, may } = shared;
    element.hidden = !may("wallets:write");
    // A form that somebody is filling in stays as it is.
    if (element.hidden || shown === wallet.status) return;
    shown = wallet.status;
    if (shown === "active") draw();
    else fill(element, h("p", {}, t(`actions.${shown}`)));
  };
  const draw = () => {
    const buttons = Object.keys(KINDS).map((kind) =>
      h(
        "button",
        {
          type: "button",
          "aria-pressed": String(kind === chosen),
          "data-kind": kind,
          onclick: () => choose(kind),
        },
        t(`actions.${kind}`),
      ),
    );
    fill(
      element,
      h("div", { class: "segments", role: "group", "aria-label": t("actions.title") }, buttons),
      KINDS[chosen](shared),
    );
  };
  const choose = (kind) => {
    chosen = kind;
    draw();
    element.querySelector(`[data-kind="${kind}"]`).focus();
  };
  return { element, renew };
}

/** What may be said of a movement of money, for whoever looks for it later. */
export function saying() {
  return [
    field("reference", t("operation.reference"), { maxlength: MAX_TEXT_CHARACTERS }),
    field("description", t("operation.description"), { maxlength: MAX_DESCRIPTION_CHARACTERS }),
  ];
}

/** The same out of what was typed: only what is there. */
export function said(typed) {
  return Object.fromEntries(
    ["reference", "description"]
      .map((name) => [name, typed[name]?.trim()])
      .filter(([, text]) => text),
  );
}

function typedAmount(typed, { wallet }) {
  return reading("amount", () => parseAmount(typed.amount, decimalsOf(wallet.balance), language()));
}

function operation(kind) {
  return (shared) =>
    form({
      button: t(`actions.${kind.toLowerCase()}`),
      fields: [amountField("amount", t("form.amount"), shared.wallet.currency), saying()],
      act: async (typed, idempotencyKey) => {
        const body = { operation_type: kind, amount: typedAmount(typed, shared), ...said(typed) };
        const done = await ask("POST", `${shared.path}/operation`, { body, idempotencyKey });
        await shared.refresh();
        return t("actions.new_balance", { balance: moneyText(done.new_balance, done.currency) });
      },
    });
}

function transfer(shared) {
  const { wallet, signal } = shared;
  const picker = walletPicker("target_wallet_id", t("transfer.target"), { wallet, signal });
  return form({
    button: t("actions.transfer"),
    fields: [picker.element, amountField("amount", t("form.amount"), wallet.currency), saying()],
    act: async (typed, idempotencyKey) => {
      const body = {
        source_wallet_id: wallet.id,
        target_wallet_id: await picker.resolve(typed.target_wallet_id),
        amount: typedAmount(typed, shared),
        ...said(typed),
      };
      const { legs } = await ask("POST", "transfers", { body, idempotencyKey });
      await shared.refresh();
      return t("actions.new_balance", {
        balance: moneyText(legs[0].source_balance, wallet.currency),
      });
    },
  });
}

function hold(shared) {
  const units = Object.keys(SECONDS_OF).map((unit) => [unit, t(`hold.${unit}`)]);
  return form({
    button: t("actions.hold"),
    fields: [
      amountField("amount", t("form.amount"), shared.wallet.currency),
      h(
        "div",
        { class: "pair" },
        field("expires_in_seconds", t("hold.lasts"), {
          inputmode: "numeric",
          value: DEFAULT_HOLD_DAYS,
        }),
        choice("unit", t("hold.unit"), units, "days"),
      ),
      saying(),
    ],
    act: async (typed, idempotencyKey) => {
      const count = typed.expires_in_seconds.trim();
      if (!/^[1-9]\d{0,5}$/.test(count))
        throw new FieldWrong("expires_in_seconds", "hold.lasts_wrong");
      const body = {
        amount: typedAmount(typed, shared),
        expires_in_seconds: Number(count) * SECONDS_OF[typed.unit],
        ...said(typed),
      };
      const placed = await ask("POST", `${shared.path}/holds`, { body, idempotencyKey });
      await shared.refresh();
      return t("hold.placed", { amount: moneyText(placed.amount, placed.currency) });
    },
  });
}
