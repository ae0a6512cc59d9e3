// What stands around a page: the choice of language and of theme, and short news at the bottom.

import { fill, h } from "/static/console/dom.js";
import { LANGUAGES, language, speak, t } from "/static/console/i18n.js";

const THEME_KEPT_AS = "coffer.theme";
const THEMES = ["auto", "light", "dark"];
const SAID_MILLISECONDS = 6000;

/** The event of the window after another theme was chosen, for what is painted by hand. */
export const THEME_CHANGED = "coffer:theme";

/** A choice of the language; `onchange` draws the page anew, at once or later. */
export function languageChoice(onchange) {
  const select = h(
    "select",
    { id: "language", "aria-label": t("nav.language") },
    LANGUAGES.map((code) =>
      h("option", { value: code, selected: code === language() }, code.toUpperCase()),
    ),
  );
  select.addEventListener("change", async () => {
    speak(select.value);
    await onchange();
    document.getElementById("language")?.focus();
  });
  return select;
}

/** A choice of the theme: that of the system, light or dark. */
export function themeChoice() {
  const chosen = document.documentElement.dataset.theme;
  const select = h(
    "select",
    { id: "theme", "aria-label": t("nav.theme") },
    THEMES.map((name) =>
      h("option", { value: name, selected: name === chosen }, t(`theme.${name}`)),
    ),
  );
  select.addEventListener("change", () => {
    document.documentElement.dataset.theme = select.value;
    if (select.value === "auto") localStorage.removeItem(THEME_KEPT_AS);
    else localStorage.setItem(THEME_KEPT_AS, select.value);
    window.dispatchEvent(new Event(THEME_CHANGED));
  });
  return select;
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  window.dispatchEvent(new Event(THEME_CHANGED));
});

let silence;

/** Say something at the bottom of the page for a while, to be seen and to be heard. */
export function say(text) {
  const place = document.getElementById("said");
  clearTimeout(silence);
  fill(place, h("p", {}, text));
  silence = setTimeout(() => fill(place), SAID_MILLISECONDS);
}
