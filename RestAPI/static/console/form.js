// Forms that do what they say once: an Idempotency-Key each, refusals beside the field they are
// about.

import { Refusal } from "/static/console/api.js";
import { h, fill } from "/static/console/dom.js";
import { knows, language, t } from "/static/console/i18n.js";
import { AmountUnclear } from "/static/console/money.js";

let ids = 0;

/**
 * A new Idempotency-Key: 128 random bits. Not by crypto.randomUUID, which browsers keep from pages
 * that come over plain HTTP from another machine.
 */
export function newIdempotencyKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * A field by its label; `name` is that of the body's member. `input` may be given by the caller,
 * `unit` is what stands behind it, such as a currency, and `hint` below it.
 */
export function field(name, label, { unit, hint, ...attributes } = {}, input = undefined) {
  const id = `field-${++ids}`;
  const control = input ?? h("input", { type: "text", autocomplete: "off" });
  for (const [key, value] of Object.entries({ id, name, ...attributes })) {
    if (value !== false && value !== undefined)
      control.setAttribute(key, value === true ? "" : value);
  }
  control.setAttribute("aria-describedby", hint ? `${id}-wrong ${id}-hint` : `${id}-wrong`);
  return h(
    "div",
    { class: "field", "data-field": name },
    h("label", { for: id }, label),
    unit ? h("div", { class: "with-unit" }, control, h("span", { class: "unit" }, unit)) : control,
    hint && h("p", { class: "hint", id: `${id}-hint` }, hint),
    h("p", { class: "wrong", id: `${id}-wrong`, role: "alert", hidden: true }),
  );
}

/** A field for an amount in a currency, typed as people type it. */
export function amountField(name, label, currency, attributes = {}) {
  return field(name, label, {
    inputmode: "decimal",
    class: "amount",
    unit: currency,
    ...attributes,
  });
}

/** A box to tick. */
export function tick(name, label, checked = false) {
  const id = `field-${++ids}`;
  return h(
    "div",
    { class: "field tick", "data-field": name },
    h("input", { type: "checkbox", id, name, checked, "aria-describedby": `${id}-wrong` }),
    h("label", { for: id }, label),
    h("p", { class: "wrong", id: `${id}-wrong`, role: "alert", hidden: true }),
  );
}

/** A choice of one of several: pairs of value and label; `chosen` is the value at first. */
export function choice(name, label, options, chosen = undefined) {
  const select = h(
    "select",
    {},
    options.map(([value, text]) => h("option", { value, selected: value === chosen }, text)),
  );
  return field(name, label, {}, select);
}

/**
 * A form of `fields` with one button.
 *
 * `act(values, idempotencyKey)` gets the texts of the fields, sends the request and returns once it
 * is done; what it throws is shown: an AmountUnclear or a FieldWrong at its field, a Refusal by its
 * code and `errors` at the fields that it is about, in the words of the server. The key stays the
 * same until the request is answered for good or a field changes, so that a double click, or a
 * second try after a broken connection, does it once.
 *
 * @param {{title?: string, button: string, fields: Element[], danger?: boolean,
 *   act: (values: Record<string, string>, idempotencyKey: string) => Promise<string|undefined>}}
 *   options
 *   `act` returns what is said of the success, if anything.
 */
export function form({ title, button, fields, act, danger = false }) {
  let idempotencyKey = newIdempotencyKey();
  let busy = false;
  const general = h("p", { class: "wrong", role: "alert", hidden: true });
  const done = h("p", { class: "done", role: "status" });
  const submit = h("button", { type: "submit", class: danger ? "danger" : "primary" }, button);
  const element = h(
    "form",
    { class: "card form", novalidate: true, ...(title ? { "aria-label": title } : {}) },
    title && h("h3", {}, title),
    fields,
    general,
    h("div", { class: "buttons" }, submit, done),
  );
  element.addEventListener("input", () => {
    idempotencyKey = newIdempotencyKey();
    fill(done);
  });
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (busy) return;
    busy = true;
    submit.setAttribute("aria-disabled", "true");
    clear(element, general);
    fill(done);
    try {
      const said = await act(Object.fromEntries(new FormData(element)), idempotencyKey);
      idempotencyKey = newIdempotencyKey();
      element.reset();
      fill(done, said ?? t("form.done"));
    } catch (error) {
      if (error instanceof Refusal && settled(error.status)) idempotencyKey = newIdempotencyKey();
      show(element, general, error);
    } finally {
      busy = false;
      submit.removeAttribute("aria-disabled");
    }
  });
  return element;
}

/** What is wrong with a field, found before anything was sent; `code` is a key of the words. */
export class FieldWrong extends Error {
  constructor(name, code) {
    super(code);
    this.field = name;
    this.code = code;
  }
}

/** Read an amount out of a field by `parse`; what is unclear is said at that field. */
export function reading(name, parse) {
  try {
    return parse();
  } catch (error) {
    if (error instanceof AmountUnclear) throw new FieldWrong(name, error.code);
    throw error;
  }
}

// Codes of money rules are about a field where a form has it.
const FIELD_OF_CODE = {
  insufficient_funds: "amount",
  limit_exceeded: "amount",
  hold_exceeded: "amount",
  reversal_exceeded: "amount",
  amount_invalid: "amount",
  amount_too_precise: "amount",
  amount_out_of_range: "amount",
  currency_mismatch: "target_wallet_id",
  same_wallet: "target_wallet_id",
  wallet_not_found: "target_wallet_id",
  currency_unknown: "currency",
};

function settled(status) {
  return status >= 400 && status < 500 && status !== 429;
}

function show(element, general, error) {
  if (error instanceof FieldWrong) {
    tell(element, general, error.field, t(error.code));
    element.querySelector("[aria-invalid]")?.focus();
    return;
  }
  if (!(error instanceof Refusal)) {
    tell(element, general, null, t("form.broken"));
    throw error;
  }
  const wrong = error.problem.errors ?? [];
  for (const { where, what } of wrong) {
    const words = wrong.length === 1 && knows(`refused.${error.code}`) ? inWords(error) : what;
    tell(
      element,
      general,
      String(where ?? "")
        .split(".")
        .at(-1),
      words,
    );
  }
  if (wrong.length === 0) tell(element, general, placeOf(element, error), inWords(error));
  element.querySelector("[aria-invalid]")?.focus();
}

function placeOf(element, error) {
  const { limit } = error.problem;
  if (limit && element.querySelector(`[data-field="${CSS.escape(limit)}"]`)) return limit;
  return FIELD_OF_CODE[error.code];
}

/** A refusal in words: in English those of the server, else the console's own where it has any. */
export function inWords(error) {
  const own = `refused.${error.code}`;
  const theirs = error.problem?.detail;
  if (knows(own) && (language() !== "en" || !theirs)) return t(own);
  return theirs ?? error.message;
}

function tell(element, general, name, text) {
  const place = name && element.querySelector(`[data-field="${CSS.escape(name)}"]`);
  const paragraph = place ? place.querySelector(".wrong") : general;
  paragraph.hidden = false;
  fill(paragraph, paragraph.textContent ? `${paragraph.textContent} ${text}` : text);
  if (place) {
    place.querySelector("input, select, textarea").setAttribute("aria-invalid", "true");
  }
}

function clear(element, general) {
  for (const paragraph of [general, ...element.querySelectorAll(".field .wrong")]) {
    paragraph.hidden = true;
    fill(paragraph);
  }
  for (const control of element.querySelectorAll("[aria-invalid]")) {
    control.removeAttribute("aria-invalid");
  }
}
