// The trend: views and clicks as lines (uPlot), and the same numbers as a table.

import { fill, make } from "./element.js";
import { compact, number, pointLabel } from "./format.js";

const AXIS_FONT = "12px system-ui, sans-serif";
/** Room for a label below the axis, in pixels. */
const LABEL_WIDTH = 76;
let shown = null;
let plot = null;

/** Draws the series, and again whenever its place changes size or the colours change. */
export function showTrend(place, twin, series, options) {
  if (shown === null) {
    new ResizeObserver(() => plot?.setSize(sizeOf(place))).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  }
  shown = { place, series, options };
  draw();
  fill(twin, table(series, options));
}

const sizeOf = (place) => ({ width: place.clientWidth, height: place.clientHeight });

function draw() {
  const { place, series, options } = shown;
  plot?.destroy();
  const picture = make("div", { role: "img", "aria-label": summary(series, options) });
  const tip = make("div", { class: "tip", "aria-hidden": "true", hidden: "" });
  fill(place, picture, tip);
  plot = new window.uPlot({
    ...sizeOf(place),
    padding: [10, 26, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 9 } },
    scales: { x: { time: true }, y: { range: (u, low, high) => [0, Math.max(high ?? 0, 4) * 1.05] } },
    axes: axes(series, options),
    series: [{}, ...lines(series, options)],
    hooks: { setCursor: [(u) => follow(u, place, tip, series, options)] },
  }, data(series, options), picture);
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function lines(series, options) {
  const line = (name, more) => ({ stroke: colour(name), width: 2.2, points: { show: series.length === 1, size: 9 }, ...more });
  const names = options.views ? ["--views", "--clicks"] : ["--clicks"];
  const whole = names.map((name) => line(name, name === names[0] ? { fill: `${colour(name)}22` } : {}));
  // The last point still grows: its line is dotted, so that today never looks like a fall.
  const growing = names.map((name) => line(name, { dash: [2, 5], points: { show: false } }));
  return unfinished(series, options) ? [...whole, ...growing] : whole;
}

const unfinished = (series, options) => options.unfinished && series.length > 1;

function data(series, options) {
  const times = series.map((point) => Date.parse(point.at) / 1000);
  const columns = (options.views ? ["views", "clicks"] : ["clicks"]).map((name) => series.map((point) => point[name]));
  if (!unfinished(series, options)) return [times, ...columns];
  const last = series.length - 1;
  return [times,
    ...columns.map((column) => column.map((value, i) => (i === last ? null : value))),
    ...columns.map((column) => column.map((value, i) => (i < last - 1 ? null : value))),
  ];
}

function axes(series, options) {
  const look = { stroke: colour("--soft"), font: AXIS_FONT, ticks: { show: false } };
  const times = series.map((point) => Date.parse(point.at) / 1000);
  // As many labels as fit, counted from the newest.
  const splits = (u) => {
    const every = Math.max(1, Math.ceil((times.length * LABEL_WIDTH) / Math.max(LABEL_WIDTH, u.bbox.width / devicePixelRatio)));
    return times.filter((_, i) => (times.length - 1 - i) % every === 0);
  };
  const short = { ...options, hourly: options.hourly && series.length <= 48 };
  return [
    { ...look, size: 30, grid: { show: false }, splits, values: (u, at) => at.map((moment) => pointLabel(moment * 1000, short, false)) },
    { ...look, size: 52, grid: { stroke: colour("--line"), width: 1 }, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 1e7, 1e8], values: (u, at) => at.map(compact) },
  ];
}

function follow(u, place, tip, series, options) {
  const point = series[u.cursor.idx];
  tip.hidden = !point || u.cursor.left < 0;
  if (tip.hidden) return;
  tip.replaceChildren(
    make("b", { text: pointLabel(point.at, options, true) }),
    ...(options.views ? [make("div", { text: `${number(point.views)} views` })] : []),
    make("div", { text: `${number(point.clicks)} clicks` }),
  );
  const x = u.valToPos(Date.parse(point.at) / 1000, "x") + u.bbox.left / devicePixelRatio;
  const left = x + 14 + tip.offsetWidth > place.clientWidth ? x - 14 - tip.offsetWidth : x + 14;
  tip.style.transform = `translate(${Math.max(0, left)}px, 10px)`;
}

function summary(series, options) {
  const sum = (name) => number(series.reduce((total, point) => total + point[name], 0));
  const what = options.views ? `${sum("views")} views and ${sum("clicks")} clicks` : `${sum("clicks")} clicks`;
  const [first, last] = [series[0], series.at(-1)].map((point) => (point ? pointLabel(point.at, options, true) : ""));
  return `Chart: ${what} from ${first} to ${last}. The table below has every number.`;
}

function table(series, options) {
  const names = options.views ? ["Views", "Clicks"] : ["Clicks"];
  const head = make("thead", {}, make("tr", {}, ...[options.hourly ? "Hour" : "Day", ...names].map((text) => make("th", { scope: "col", text }))));
  const rows = series.map((point) => make("tr", {},
    make("th", { scope: "row", text: pointLabel(point.at, options, true) }),
    options.views && make("td", { text: number(point.views) }),
    make("td", { text: number(point.clicks) }),
  ));
  const caption = make("caption", { class: "unseen", text: `${names.join(" and ")} per ${options.hourly ? "hour" : "day"}` });
  return make("table", {}, caption, head, make("tbody", {}, ...rows));
}
