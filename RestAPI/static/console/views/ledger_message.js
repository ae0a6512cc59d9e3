// A message of one's own, which takes the same way as every event.

import { ask } from "/static/console/api.js";
import { say } from "/static/console/chrome.js";
import { FieldWrong, field, form } from "/static/console/form.js";
import { h } from "/static/console/dom.js";
import { t } from "/static/console/i18n.js";

const MAX_USER_CHARACTERS = 255;
const MAX_TEXT_CHARACTERS = 1000;

/** The form; `onsent()` is called after a message. A key of an owner writes to this owner. */
export function messageForm({ access, onsent }) {
  return form({
    button: t("ledger.send"),
    fields: [
      field("user_id", t("ledger.to"), { maxlength: MAX_USER_CHARACTERS, value: access.owner ?? undefined, readonly: access.owner !== null }),
      field("description", t("ledger.text"), {}, h("textarea", { rows: 4, maxlength: MAX_TEXT_CHARACTERS })),
    ],
    act: async ({ user_id: whom, description }, idempotencyKey) => {
      if (whom.trim() === "") throw new FieldWrong("user_id", "ledger.to_missing");
      if (description.trim() === "") throw new FieldWrong("description", "ledger.text_missing");
      await ask("POST", "events", { body: { user_id: whom.trim(), description: description.trim() }, idempotencyKey });
      say(t("ledger.sent"));
      await onsent().catch(() => {}); // what was done is said already
      return t("ledger.sent");
    },
  });
}
