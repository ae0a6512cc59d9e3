// A window over the page for one thing to be done, by the browser's own dialog: it keeps the focus
// and gives it back.

import { h } from "/static/console/dom.js";
import { t } from "/static/console/i18n.js";

/**
 * Open a dialog. `content(close)` gives what is in it. It closes by Escape, by its button, by
 * `close()`, and when the view is left (`signal`).
 *
 * @param {{title: string, content: (close: () => void) => (Element | Element[]),
 *   signal: AbortSignal}} options
 */
export function openDialog({ title, content, signal }) {
  const close = () => element.close();
  const element = h(
    "dialog",
    { "aria-labelledby": "dialog-title" },
    h(
      "div",
      { class: "dialog-head" },
      h("h2", { id: "dialog-title" }, title),
      h("button", { type: "button", class: "quiet", onclick: close }, t("dialog.close")),
    ),
    content(close),
  );
  element.addEventListener("close", () => element.remove());
  signal.addEventListener("abort", close, { once: true });
  document.body.append(element);
  element.showModal();
  const first = element.querySelector("form input:not([type=hidden]), form select, form button");
  first?.focus();
}
