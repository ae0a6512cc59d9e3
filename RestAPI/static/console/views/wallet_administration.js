// What is done to a wallet as a whole: its statement, name, limits and status.

import { Refusal, ask, send } from "/static/console/api.js";
import { say } from "/static/console/chrome.js";
import { openDialog } from "/static/console/dialog.js";
import { fill, h } from "/static/console/dom.js";
import { FieldWrong, amountField, choice, field, form, reading } from "/static/console/form.js";
import { language, t } from "/static/console/i18n.js";
import { decimalsOf, parseAmount, parseCreditLimit, typeAmount } from "/static/console/money.js";
import { dayAsInstant } from "/static/console/parts.js";
import { MAX_TEXT_CHARACTERS } from "/static/console/views/wallet_actions.js";

/** The buttons, those that the caller may use on the wallet as it is. */
export function administration(shared) {
  const element = h("div", { class: "buttons menu" });
  const { may, access } = shared;
  let shown = "";
  const renew = () => {
    const { status } = shared.wallet;
    // The button that opened a dialog gets the focus back, so it stays while nothing changes.
    if (shown === status) return;
    shown = status;
    const mayWrite = may("wallets:write") && status !== "closed";
    const mayDecide = mayWrite && !access.owner;
    const button = (name, act) =>
      h(
        "button",
        { type: "button", "data-act": name, onclick: () => act(shared) },
        t(`menu.${name}`),
      );
    fill(
      element,
      button("statement", statement),
      mayWrite && button("rename", rename),
      mayWrite && may("admin") && button("limits", limits),
      mayDecide &&
        status === "active" &&
        button("freeze", (given) => decide(given, "freeze", "frozen")),
      mayDecide &&
        status === "frozen" &&
        button("unfreeze", (given) => decide(given, "unfreeze", "active")),
      mayDecide && button("close", (given) => decide(given, "close", "closed")),
    );
  };
  return { element, renew };
}

/** Change the wallet by a form in a dialog. `body(typed)` is what is to change. */
function change({ path, signal, refresh }, { name, fields, body, danger }) {
  const content = (close) => [
    h("p", {}, t(`${name}.text`)),
    form({
      button: t(`menu.${name}`),
      danger,
      fields,
      act: async (typed, idempotencyKey) => {
        await ask("PATCH", path, { body: body(typed), idempotencyKey });
        close();
        say(t("form.done"));
        await refresh();
      },
    }),
  ];
  openDialog({ title: t(`menu.${name}`), content, signal });
}

function decide(shared, name, status) {
  change(shared, { name, fields: [], body: () => ({ status }), danger: name !== "unfreeze" });
}

function rename(shared) {
  const value = shared.wallet.name ?? "";
  const fields = [field("name", t("wallet.name"), { value, maxlength: MAX_TEXT_CHARACTERS })];
  change(shared, { name: "rename", fields, body: ({ name }) => ({ name: name.trim() || null }) });
}

function limits(shared) {
  const { currency, min_balance: least, max_balance: most } = shared.wallet;
  const decimals = decimalsOf(least);
  const inWords = (amount) => (amount === null ? "" : typeAmount(amount, language()));
  change(shared, {
    name: "limits",
    fields: [
      amountField("min_balance", t("wallet.min_balance"), currency, {
        value: inWords(least),
        hint: t("limits.min_hint"),
      }),
      amountField("max_balance", t("wallet.max_balance"), currency, {
        value: inWords(most),
        hint: t("limits.max_hint"),
      }),
    ],
    body: (typed) => ({
      min_balance: typed.min_balance.trim()
        ? reading("min_balance", () => parseCreditLimit(typed.min_balance, decimals, language()))
        : "0",
      max_balance: typed.max_balance.trim()
        ? reading("max_balance", () => parseAmount(typed.max_balance, decimals, language()))
        : null,
    }),
  });
}

function statement({ path, wallet, signal }) {
  const content = () => [
    h("p", {}, t("statement.text")),
    form({
      button: t("statement.download"),
      fields: [
        h(
          "div",
          { class: "pair" },
          field("from", t("period.from"), { type: "date" }),
          field("to", t("period.to"), { type: "date" }),
        ),
        choice(
          "format",
          t("statement.format"),
          [
            ["csv", "CSV"],
            ["json", "JSON"],
          ],
          "csv",
        ),
      ],
      act: async ({ from, to, format }) => {
        if (from && to && from > to) throw new FieldWrong("to", "period.wrong");
        const query = { from: dayAsInstant(from), to: dayAsInstant(to, { after: true }), format };
        const answer = await send("GET", `${path}/statement`, { query, signal });
        save(await whole(answer), `statement-${wallet.id}.${format}`);
        return t("statement.done");
      },
    }),
  ];
  openDialog({ title: t("menu.statement"), content, signal });
}

/** All of an answer. Throws a Refusal if it breaks off on the way. */
async function whole(answer) {
  try {
    return await answer.blob();
  } catch {
    throw new Refusal(0, { code: "unreachable" });
  }
}

/** Give a file to whoever sits there; a link alone could not bring the key. */
function save(blob, name) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address));
}
