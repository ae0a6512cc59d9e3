// Small plots over time, by uPlot (vendored), in the colours of the page.

import uPlot from "/static/vendor/uplot/uPlot.esm.js";
import { h } from "/static/console/dom.js";

/**
 * A plot of one or more series over time. Values are for the eye only: money is plotted as numbers, but
 * never read back out of a plot.
 *
 * @param {{label: string, series: {label: string, stepped?: boolean}[], height?: number}} options
 * @param {[number[], ...number[][]]} data seconds since 1970, then the values of each series
 * @returns {{element: Element, set: (data: number[][]) => void}}
 */
export function plot({ label, series, height = 180 }, data) {
  const element = h("figure", { class: "plot", role: "img", "aria-label": label });
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const axis = () => ({ stroke: () => style("--soft"), grid: { stroke: () => style("--line") } });
  const chart = new uPlot(
    {
      width: 300,
      height,
      legend: { show: series.length > 1 },
      axes: [axis(), axis()],
      series: [
        {},
        ...series.map(({ label: name, stepped }, index) => ({
          label: name,
          stroke: () => style(index === 0 ? "--accent" : "--gold"),
          width: 2,
          ...(stepped ? { paths: uPlot.paths.stepped({ align: 1 }) } : {}),
        })),
      ],
    },
    data,
    element,
  );
  new ResizeObserver(([entry]) => {
    chart.setSize({ width: Math.max(200, Math.floor(entry.contentRect.width)), height });
  }).observe(element);
  return { element, set: (changed) => chart.setData(changed) };
}
