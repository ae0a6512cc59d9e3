// The words of the console in the languages that it speaks.

import en from "/static/console/words/en.js";
import ru from "/static/console/words/ru.js";

const WORDS = { en, ru };
const KEPT_AS = "coffer.language";

/** The languages, by their codes. */
export const LANGUAGES = Object.keys(WORDS);

let current = chosen();

function chosen() {
  const kept = localStorage.getItem(KEPT_AS);
  if (kept !== null && Object.hasOwn(WORDS, kept)) return kept;
  const wanted = navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase());
  return wanted.find((code) => Object.hasOwn(WORDS, code)) ?? "en";
}

/** The code of the language that is spoken. */
export function language() {
  return current;
}

/** Speak another language from now on. What is on the page is drawn anew by whoever calls this. */
export function speak(code) {
  current = code;
  localStorage.setItem(KEPT_AS, code);
  document.documentElement.lang = code;
}

/**
 * The words for a key, with `{name}` replaced. A text with forms for numbers is an object by the
 * plural categories of Intl.PluralRules, chosen by `count`.
 */
export function t(key, values = {}) {
  const found = WORDS[current][key] ?? WORDS.en[key];
  if (found === undefined) throw new Error(`There are no words for ${key}.`);
  const form =
    typeof found === "string" ? found : found[new Intl.PluralRules(current).select(values.count)];
  return form.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** Whether there are words for a key, such as one made of a code of the server. */
export function knows(key) {
  return Object.hasOwn(WORDS.en, key);
}

/** A moment of the server for people. */
export function when(instant) {
  return new Intl.DateTimeFormat(current, { dateStyle: "medium", timeStyle: "medium" }).format(
    new Date(instant),
  );
}

/** The same for tables: no year where it is this one. */
export function shortWhen(instant) {
  const moment = new Date(instant);
  const year = moment.getFullYear() === new Date().getFullYear() ? {} : { year: "numeric" };
  const day = { ...year, month: "short", day: "numeric" };
  const time = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
  return new Intl.DateTimeFormat(current, { ...day, ...time }).format(moment);
}

/** A day of the server for people. */
export function day(instant) {
  return new Intl.DateTimeFormat(current, { dateStyle: "medium" }).format(new Date(instant));
}

/** A count for people. */
export function count(number) {
  return new Intl.NumberFormat(current).format(number);
}

document.documentElement.lang = current;
