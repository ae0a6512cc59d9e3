// The event log, newest first; an event opens as the CloudEvent that it is.

import { ask } from "/static/console/api.js";
import { openDialog } from "/static/console/dialog.js";
import { fill, h } from "/static/console/dom.js";
import { field, inWords } from "/static/console/form.js";
import { knows, t } from "/static/console/i18n.js";
import { moneyText, shortId, shortMoment } from "/static/console/parts.js";
import { endless, row } from "/static/console/table.js";

const FILTER_PAUSE_MILLISECONDS = 350;
const RENEW_MILLISECONDS = 2000;
/** Of how many events that were not processed yet the status is asked for at once. */
const MOST_LOOKED_AT = 10;
const WALLET_ID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

/**
 * The log with its filter.
 *
 * @returns {{element: Element, begin: () => Promise<void>, renew: () => Promise<void>}}
 */
export function events({ query, keep, signal }) {
  const columns = [
    { label: t("history.time"), class: "time" },
    { label: t("ledger.event") },
    { label: t("history.about") },
    { label: t("wallet.status") },
    { label: t("history.do"), class: "do" },
  ];
  const waiting = new Map(); // events that are not processed yet, with the place of their status
  const trouble = h("p", { class: "soft", hidden: true });
  const filter = walletField(query);
  const list = endless({
    label: t("ledger.events"),
    columns,
    path: "events",
    draw: (event, fresh) => eventRow(columns, event, { fresh: fresh === true, waiting, signal }),
    nothing: () => h("p", { class: "nothing" }, t(filter.value() ? "ledger.none_found" : "ledger.no_events")),
    signal,
  });

  async function read() {
    const wallet = filter.value();
    keep({ wallet_id: wallet });
    const wrong = wallet && !WALLET_ID.test(wallet);
    filter.wrong(wrong ? t("live.wallet_wrong") : "");
    if (wrong) return;
    await guarded(() => {
      waiting.clear();
      return list.read({ order: "newest", wallet_id: wallet });
    });
  }
  async function guarded(act) {
    try {
      await act();
      trouble.hidden = true;
      list.element.hidden = false;
    } catch (error) {
      if (signal.aborted || error.status === 401) throw error;
      trouble.hidden = error.status !== 403;
      list.element.hidden = error.status === 403;
      if (error.status === 403) list.empty();
      // Anything else the list says itself.
      if (error.status === 403) fill(trouble, t("ledger.events_not_yours"));
    }
  }
  async function renew() {
    if (!trouble.hidden || (filter.value() && !WALLET_ID.test(filter.value()))) return;
    await list.renew();
    for (const [id, place] of waiting) {
      if (list.element.isConnected && !place.isConnected) waiting.delete(id); // its row is gone
    }
    await Promise.all([...waiting].slice(-MOST_LOOKED_AT).map(([id, place]) => lookAt(id, place)));
  }
  async function lookAt(id, place) {
    const { status } = await ask("GET", `events/${id}`, { signal });
    if (status === "NotProcessed" || waiting.get(id) !== place) return;
    waiting.delete(id);
    fill(place, statusOf(status));
  }
  async function begin() {
    await read();
    filter.onchange(() => read().catch(() => {})); // a key that is refused goes back to the question by itself
    let busy = false;
    const timer = setInterval(async () => {
      if (busy || document.hidden) return;
      busy = true;
      await renew().catch(() => {}); // the next look finds out more
      busy = false;
    }, RENEW_MILLISECONDS);
    signal.addEventListener("abort", () => clearInterval(timer));
  }
  const element = h("section", { "aria-label": t("ledger.events") }, h("h2", {}, t("ledger.events")), filter.element, trouble, list.element);
  return { element, begin, renew };
}

function walletField(query) {
  const wallet = field("wallet_id", t("live.wallet"), {
    value: query.get("wallet_id") ?? "",
    placeholder: t("filter.all"),
    maxlength: 36,
    spellcheck: "false",
  });
  const element = h("form", { class: "filters two", role: "search", "aria-label": t("ledger.filter") }, wallet);
  const input = wallet.querySelector("input");
  const wrong = (text) => {
    const said = wallet.querySelector(".wrong");
    fill(said, text);
    said.hidden = text === "";
    if (text) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  };
  const onchange = (act) => {
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
  };
  return { element, value: () => input.value.trim(), wrong, onchange };
}

function eventRow(columns, event, { fresh, waiting, signal }) {
  const place = h("span", {}, statusOf(event.status));
  if (event.status === "NotProcessed") waiting.set(event.id, place);
  const open = () => openEvent(event.id, signal);
  return row(
    columns,
    [
      shortMoment(event.time),
      typeName(event),
      h(
        "span",
        { class: "about" },
        aboutOf(event),
        event.userid && h("span", {}, event.userid),
        event.wallet && h("a", { href: `#/wallets/${event.wallet}` }, shortId(event.wallet)),
      ),
      place,
      h("button", { type: "button", class: "quiet", onclick: open }, t("ledger.open"), h("span", { class: "spoken" }, ` ${typeName(event)}`)),
    ],
    fresh ? { class: "fresh" } : {},
  );
}

function typeName({ type, data }) {
  const operation = `operation.${data.operation_type}`;
  if (data.operation_type && knows(operation)) return t(operation);
  return knows(`event.${type}`) ? t(`event.${type}`) : type;
}

function aboutOf({ data }) {
  if (data.amount && data.currency) return h("span", { class: "money" }, moneyText(data.amount, data.currency));
  return data.description && h("span", {}, data.description);
}

function statusOf(status) {
  return h("span", { class: `badge ${status}` }, t(`event_status.${status}`));
}

/** The CloudEvent as JSON, in a window of its own; read anew, so that its status is that of now. */
function openEvent(id, signal) {
  const content = h("pre", { tabindex: "0", role: "region", "aria-label": t("ledger.json") }, "…");
  openDialog({ title: t("ledger.json"), content: () => content, signal });
  content.closest("dialog").classList.add("wide");
  ask("GET", `events/${id}`, { signal }).then(
    (event) => fill(content, h("code", {}, JSON.stringify(event, null, 2))),
    (error) => signal.aborted || fill(content, error.code ? inWords(error) : t("form.broken")),
  );
}
