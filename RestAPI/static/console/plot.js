// Small plots over time, by uPlot (vendored), in the colours of the page.

import uPlot from "/static/vendor/uplot/uPlot.esm.js";
import { THEME_CHANGED } from "/static/console/chrome.js";
import { fill, h } from "/static/console/dom.js";
import { language } from "/static/console/i18n.js";

const SMALLEST_WIDTH_PIXELS = 200;
const TIME_AXIS_PIXELS = 30;
const TIME_LABEL_PIXELS = 80;
const CHARACTER_PIXELS = 7.5;
const GAP_PIXELS = 14;
const DAY_SECONDS = 86_400;
const MINUTE_SECONDS = 60;

/**
 * A plot of one or more series over time. Values are for the eye only: money is plotted as numbers,
 * but never read back out of a plot.
 *
 * `describe(index)` gives words for the point under the pointer.
 *
 * @param {{label: string, series: {label: string, stepped?: boolean}[], height?: number,
 *   describe?: (index: number) => string}} options
 * @param {[number[], ...number[][]]} data seconds since 1970, then the values of each series
 * @returns {{element: Element, set: (data: number[][]) => void}}
 */
export function plot({ label, series, height = 180, describe }, data) {
  const drawn = h("div", { role: "img", "aria-label": label });
  const caption = h("figcaption", {});
  const element = h("figure", { class: "plot" }, drawn, describe && caption);
  const tell = ({ cursor: { idx } }) =>
    fill(caption, idx === null || idx === undefined ? null : describe(idx));
  const chart = new uPlot(
    {
      width: SMALLEST_WIDTH_PIXELS,
      height,
      legend: { show: series.length > 1, live: false },
      cursor: { y: false, drag: { x: false, y: false } },
      axes: [timeAxis(), valueAxis()],
      series: [{}, ...series.map(drawnAs)],
      hooks: describe ? { setCursor: [tell] } : {},
    },
    data,
    drawn,
  );
  new ResizeObserver(([entry]) => {
    const width = Math.max(SMALLEST_WIDTH_PIXELS, Math.floor(entry.contentRect.width));
    if (width !== chart.width) chart.setSize({ width, height });
  }).observe(drawn);
  const repaint = () =>
    element.isConnected ? chart.redraw() : window.removeEventListener(THEME_CHANGED, repaint);
  window.addEventListener(THEME_CHANGED, repaint);
  return { element, set: (changed) => chart.setData(changed) };
}

/** A colour of the page as it is now. */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function drawnAs({ label, stepped }, index) {
  return {
    label,
    stroke: () => colour(index === 0 ? "--accent" : "--gold"),
    fill: index === 0 ? () => colour("--accent-veil") : undefined,
    width: 2,
    points: { show: false },
    ...(stepped ? { paths: uPlot.paths.stepped({ align: 1 }) } : {}),
  };
}

function axis(values) {
  return {
    stroke: () => colour("--soft"),
    grid: { stroke: () => colour("--line"), width: 1 },
    ticks: { show: false },
    font: "12px system-ui, sans-serif",
    values,
  };
}

function timeAxis() {
  return {
    size: TIME_AXIS_PIXELS,
    space: TIME_LABEL_PIXELS,
    ...axis((_, splits, __, ___, step) => {
      const parts =
        step >= DAY_SECONDS
          ? { day: "numeric", month: "short" }
          : {
              hour: "2-digit",
              minute: "2-digit",
              ...(step < MINUTE_SECONDS ? { second: "2-digit" } : {}),
            };
      const format = new Intl.DateTimeFormat(language(), { hourCycle: "h23", ...parts });
      const words = splits.map((seconds) => format.format(new Date(seconds * 1000)));
      return words.map((word, at) => (word === words[at - 1] ? "" : word));
    }),
  };
}

function valueAxis() {
  const format = () =>
    new Intl.NumberFormat(language(), { notation: "compact", maximumFractionDigits: 2 });
  const size = (_, values) =>
    Math.max(0, ...(values ?? []).map(({ length }) => length)) * CHARACTER_PIXELS + GAP_PIXELS;
  return { ...axis((_, splits) => splits.map((value) => format().format(value))), size };
}
