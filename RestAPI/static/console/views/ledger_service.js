// How the service is doing: its parts, how far the worker is behind, rates, and where much happens.

import { ask } from "/static/console/api.js";
import { fill, h } from "/static/console/dom.js";
import { inWords } from "/static/console/form.js";
import { language, t } from "/static/console/i18n.js";
import { shortId } from "/static/console/parts.js";
import { plot } from "/static/console/plot.js";
import { between } from "/static/console/rates.js";

const POLL_MILLISECONDS = 2000;
/** How many points a plot has: the last four minutes. */
const MOST_POINTS = 120;
const PLOT_HEIGHT_PIXELS = 150;
const MILLISECONDS_PER_SECOND = 1000;

/**
 * The parts, the rates and the hot wallets, asked for every two seconds while the page is seen. Without
 * the scope it says so.
 *
 * @returns {{element: Element, begin: () => Promise<void>}}
 */
export function service({ may, signal }) {
  const title = h("h2", {}, t("service.title"));
  const element = h("section", { "aria-label": t("service.title") }, title);
  if (!may("metrics")) {
    element.append(h("p", { class: "soft" }, t("service.not_yours")));
    return { element, begin: async () => {} };
  }
  const trouble = h("p", { class: "wrong", role: "alert", hidden: true });
  const states = partStates();
  const drawn = rates();
  const hot = hotWallets();
  element.append(trouble, states.element, h("div", { class: "service" }, drawn.element, hot.element));
  let last = null;
  let refused = false;

  /** Keys of an owner see nothing of it, whatever their scopes. */
  function refuse() {
    refused = true;
    fill(element, title, h("p", { class: "soft" }, t("service.not_owners")));
  }
  async function look() {
    try {
      const now = await ask("GET", "status", { signal });
      trouble.hidden = true;
      states.draw(now);
      drawn.add(last, now);
      hot.draw(now.hot_wallets);
      last = now;
    } catch (error) {
      if (signal.aborted || error.status === 401) throw error;
      if (error.status === 403) return refuse();
      last = null;
      const text = error.code ? inWords(error) : t("form.broken");
      if (trouble.hidden || trouble.textContent !== text) fill(trouble, text);
      trouble.hidden = false;
      if (!error.code) throw error;
    }
  }
  async function begin() {
    await look();
    if (refused) return;
    let busy = false;
    const timer = setInterval(async () => {
      if (busy || document.hidden) return;
      busy = true;
      await look().catch(() => {}); // it is said in its place; a key that is refused goes back by itself
      busy = false;
    }, POLL_MILLISECONDS);
    signal.addEventListener("abort", () => clearInterval(timer));
  }
  return { element, begin };
}

/** The parts with their state in words; a change is spoken. */
function partStates() {
  const list = h("ul", { class: "parts" });
  const lagging = h("p", { class: "lag" });
  const news = h("p", { class: "spoken", role: "status", "aria-live": "polite" });
  const element = h("div", {}, list, lagging, news);
  let known = null;
  const draw = ({ parts, lag }) => {
    fill(lagging, lag === null ? t("service.lag_unknown") : lagText(lag));
    const same = JSON.stringify(parts) === JSON.stringify(known);
    if (same) return;
    if (known !== null) fill(news, changes(known, parts));
    known = parts;
    fill(
      list,
      parts.map(({ name, state, detail }) =>
        h(
          "li",
          { class: `part ${state}`, "data-part": name },
          h("strong", {}, t(`service.${name}`)),
          h("span", { class: `badge ${state}` }, t(`service.state.${state}`)),
          h("small", {}, detail),
        ),
      ),
    );
  };
  return { element, draw };
}

function changes(before, now) {
  const states = new Map(before.map(({ name, state }) => [name, state]));
  return now
    .filter(({ name, state }) => states.get(name) !== state)
    .map(({ name, state }) => `${t(`service.${name}`)}: ${t(`service.state.${state}`)}. `)
    .join("");
}

function lagText({ events, seconds, of_newest: most }) {
  if (events === 0) return t("service.lag_none");
  const age = new Intl.NumberFormat(language(), { maximumFractionDigits: 1 }).format(seconds);
  return t("service.lag", { count: events, shown: events >= most ? `${events}+` : String(events), age });
}

/** Two plots over the last minutes. */
function rates() {
  const figures = h("dl", { class: "figures rates" });
  const times = [];
  const series = { entries: [], p50: [], p99: [] };
  const speed = plot(
    { label: t("service.entries"), series: [{ label: t("service.entries") }], height: PLOT_HEIGHT_PIXELS },
    [[], []],
  );
  const latency = plot(
    { label: t("service.latency"), series: [{ label: "p50" }, { label: "p99" }], height: PLOT_HEIGHT_PIXELS },
    [[], [], []],
  );
  const element = h(
    "div",
    { class: "rates-box" },
    figures,
    h("div", { class: "plots" }, titled(t("service.entries"), speed.element), titled(t("service.latency"), latency.element)),
  );
  figuresOf(figures, null);
  /** The minutes before the first answer, so that the axis is the same from the beginning. */
  const empty = (until) => {
    for (let at = MOST_POINTS; at > 0; at -= 1) {
      times.push((until - at * POLL_MILLISECONDS) / MILLISECONDS_PER_SECOND);
      for (const values of Object.values(series)) values.push(null);
    }
  };
  const add = (before, now) => {
    const rate = before && between(before, now);
    if (!rate) return;
    if (times.length === 0) empty(Date.parse(now.at));
    times.push(Date.parse(now.at) / MILLISECONDS_PER_SECOND);
    series.entries.push(rate.entries);
    series.p50.push(milliseconds(rate.p50));
    series.p99.push(milliseconds(rate.p99));
    for (const values of [times, ...Object.values(series)]) values.splice(0, values.length - MOST_POINTS);
    speed.set([times, series.entries]);
    latency.set([times, series.p50, series.p99]);
    figuresOf(figures, rate);
  };
  return { element, add };
}

function titled(title, content) {
  return h("div", { class: "card" }, h("h3", {}, title), content);
}

function milliseconds(seconds) {
  return seconds === null ? null : seconds * MILLISECONDS_PER_SECOND;
}

function figuresOf(element, rate) {
  const number = new Intl.NumberFormat(language(), { maximumFractionDigits: 1 });
  const shown = (value) => (value === null || value === undefined ? "—" : number.format(value));
  const figure = (label, value) => h("div", {}, h("dt", {}, label), h("dd", {}, value));
  fill(
    element,
    figure(t("service.entries"), shown(rate?.entries)),
    figure(t("service.requests"), shown(rate?.requests)),
    figure(t("service.failed"), shown(rate?.failed)),
    figure(t("service.p50"), shown(rate && milliseconds(rate.p50))),
    figure(t("service.p99"), shown(rate && milliseconds(rate.p99))),
  );
}

/** The wallets in which most happens. */
function hotWallets() {
  const content = h("div", {});
  const element = h("section", { class: "card hot", "aria-label": t("service.hot") }, h("h3", {}, t("service.hot")), content);
  let known = null;
  const draw = (wallets) => {
    const text = JSON.stringify(wallets);
    if (text === known) return;
    known = text;
    fill(
      content,
      wallets.length === 0
        ? h("p", { class: "soft" }, t("service.hot_none"))
        : h(
            "ol",
            {},
            wallets.map(({ wallet_id: id, events }) =>
              h("li", {}, h("a", { href: `#/wallets/${id}` }, shortId(id)), h("span", {}, t("service.hot_events", { count: events }))),
            ),
          ),
    );
  };
  return { element, draw };
}
