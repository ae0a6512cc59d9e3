// The open holds of a wallet: capture and void.

import { ask, page } from "/static/console/api.js";
import { say } from "/static/console/chrome.js";
import { openDialog } from "/static/console/dialog.js";
import { fill, h } from "/static/console/dom.js";
import { amountField, form, reading, tick } from "/static/console/form.js";
import { language, t } from "/static/console/i18n.js";
import { decimalsOf, isZero, parseAmount } from "/static/console/money.js";
import { moment, money, moneyText } from "/static/console/parts.js";
import { walletPicker } from "/static/console/picker.js";
import { said, saying } from "/static/console/views/wallet_actions.js";

const SHOWN_HOLDS = 50;

/** The holds that are open now. */
export function holds(shared) {
  const list = h("ul", { class: "holds" });
  const more = h("p", { class: "hint" });
  const element = h(
    "section",
    { class: "card", "aria-label": t("holds.title") },
    h("h2", {}, t("holds.title")),
    list,
    more,
  );
  const renew = async () => {
    const query = { status: "open", limit: SHOWN_HOLDS };
    const found = await page(`${shared.path}/holds`, query, shared.signal);
    element.hidden = found.items.length === 0;
    fill(
      list,
      found.items.map((hold) => holdItem(shared, hold)),
    );
    fill(more, found.next_cursor && t("holds.more", { count: SHOWN_HOLDS }));
  };
  return { element, renew };
}

function holdItem(shared, hold) {
  const { currency, remaining, amount } = hold;
  const spoken = h("span", { class: "spoken" }, ` ${moneyText(remaining, currency)}`);
  const mayWrite = shared.may("wallets:write");
  return h(
    "li",
    {},
    h(
      "div",
      {},
      h("strong", {}, money(remaining, currency)),
      !isZero(hold.captured) &&
        h("small", {}, " ", t("holds.of", { amount: moneyText(amount, currency) })),
      hold.reference && [" ", h("code", {}, hold.reference)],
    ),
    hold.description && h("div", {}, hold.description),
    h("small", { class: "soft" }, t("holds.until"), " ", moment(hold.expires_at)),
    mayWrite &&
      h(
        "div",
        { class: "buttons" },
        shared.wallet.status === "active" &&
          h(
            "button",
            { type: "button", onclick: () => capture(shared, hold) },
            t("capture.button"),
            spoken.cloneNode(true),
          ),
        h(
          "button",
          { type: "button", class: "quiet", onclick: () => release(shared, hold) },
          t("void.button"),
          spoken,
        ),
      ),
  );
}

function capture(shared, hold) {
  const { wallet, signal, refresh } = shared;
  const picker = walletPicker("target_wallet_id", t("capture.target"), {
    wallet,
    signal,
    hint: t("capture.target_hint"),
  });
  const content = (close) =>
    form({
      button: t("capture.button"),
      fields: [
        amountField("amount", t("form.amount"), hold.currency, {
          hint: t("capture.amount_hint", { remaining: moneyText(hold.remaining, hold.currency) }),
        }),
        tick("final", t("capture.final"), true),
        picker.element,
        saying(),
      ],
      act: async (typed, idempotencyKey) => {
        const body = { final: typed.final === "on", ...said(typed) };
        if (typed.amount.trim()) {
          body.amount = reading("amount", () => parseAmount(typed.amount, decimalsOf(hold.amount), language()));
        }
        if (typed.target_wallet_id.trim())
          body.target_wallet_id = await picker.resolve(typed.target_wallet_id);
        await ask("POST", `holds/${hold.id}/capture`, { body, idempotencyKey });
        close();
        say(t("capture.done"));
        await refresh();
      },
    });
  openDialog({ title: t("capture.title"), content, signal });
}

function release({ signal, refresh }, hold) {
  const content = (close) => [
    h("p", {}, t("void.text", { amount: moneyText(hold.remaining, hold.currency) })),
    form({
      button: t("void.button"),
      danger: true,
      fields: [],
      act: async (_, idempotencyKey) => {
        await ask("POST", `holds/${hold.id}/void`, { body: {}, idempotencyKey });
        close();
        say(t("void.done"));
        await refresh();
      },
    }),
  ];
  openDialog({ title: t("void.title"), content, signal });
}
