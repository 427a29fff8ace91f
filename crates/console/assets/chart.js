// The trend: views as an area, clicks as a line, and the same numbers as a table.

import { draw, fill, make } from "./element.js";
import { compact, number, pointLabel } from "./format.js";

const MARGIN = { top: 10, right: 14, bottom: 26, left: 46 };
let shown = null;

/** Draws the series, and again whenever its place changes size. */
export function showTrend(place, twin, series, hourly, unfinished) {
  if (shown === null) new ResizeObserver(() => drawTrend()).observe(place);
  shown = { place, series, hourly, unfinished };
  drawTrend();
  fill(twin, table(series, hourly));
}

function drawTrend() {
  const { place, series, hourly, unfinished } = shown;
  const { clientWidth: width, clientHeight: height } = place;
  if (width === 0) return;
  const scale = scales(series, width, height);
  const total = (name) => number(series.reduce((sum, point) => sum + point[name], 0));
  const svg = draw("svg", {
    viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `Views and clicks per ${hourly ? "hour" : "day"}: ${total("views")} views and ${total("clicks")} clicks. The table below has every number.`,
  });
  drawRules(svg, scale, width);
  drawTimes(svg, scale, series, hourly, height);
  const path = (name, from = 0, to = series.length) => series.slice(from, to)
    .map((point, i) => `${i ? "L" : "M"}${scale.x(from + i).toFixed(1)},${scale.y(point[name]).toFixed(1)}`).join("");
  const floor = scale.y(0);
  if (series.length > 1) {
    svg.append(draw("path", { class: "area", d: `${path("views")}L${scale.x(series.length - 1)},${floor}L${scale.x(0)},${floor}Z` }));
  }
  for (const name of ["views", "clicks"]) {
    // The hour or day that is not over yet would look like a fall: its part of the line is dashed.
    const over = series.length - (unfinished && series.length > 1 ? 1 : 0);
    svg.append(draw("path", { class: `line ${name}`, d: path(name, 0, over) }));
    if (over < series.length) svg.append(draw("path", { class: `line ${name} unfinished`, d: path(name, over - 1) }));
    if (series.length === 1) svg.append(draw("circle", { class: `dot ${name}`, cx: scale.x(0), cy: scale.y(series[0][name]), r: 5 }));
  }
  fill(place, svg);
  followPointer(place, svg, scale, series, hourly);
}

function scales(series, width, height) {
  const most = Math.max(1, ...series.map((point) => Math.max(point.views, point.clicks)));
  const step = niceStep(most / 4);
  const top = Math.ceil(most / step) * step;
  const across = width - MARGIN.left - MARGIN.right;
  const down = height - MARGIN.top - MARGIN.bottom;
  const last = Math.max(1, series.length - 1);
  return {
    step, top, across, down,
    x: (i) => (series.length === 1 ? MARGIN.left + across / 2 : MARGIN.left + (i / last) * across),
    y: (value) => MARGIN.top + down * (1 - value / top),
    nearest: (x) => Math.max(0, Math.min(series.length - 1, Math.round(((x - MARGIN.left) / across) * last))),
  };
}

/** The next of 1, 2, 5, 10, 20, ...: whole, since nobody clicks half a time. */
function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, rough)));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
}

function drawRules(svg, scale, width) {
  for (let value = 0; value <= scale.top; value += scale.step) {
    const y = scale.y(value);
    svg.append(draw("line", { class: "rule", x1: MARGIN.left, x2: width - MARGIN.right, y1: y, y2: y }));
    svg.append(draw("text", { x: MARGIN.left - 8, y: y + 4, "text-anchor": "end" }, compact(value)));
  }
}

/** As many labels as fit, counted from the newest. */
function drawTimes(svg, scale, series, hourly, height) {
  const every = Math.max(1, Math.ceil(series.length / Math.max(1, Math.floor(scale.across / 72))));
  for (let i = series.length - 1; i >= 0; i -= every) {
    const anchor = i === series.length - 1 && series.length > 1 ? "end" : scale.x(i) < MARGIN.left + 20 && series.length > 1 ? "start" : "middle";
    svg.append(draw("text", { x: scale.x(i), y: height - 6, "text-anchor": anchor }, pointLabel(series[i].at, hourly && series.length <= 48, false)));
  }
}

function followPointer(place, svg, scale, series, hourly) {
  const cursor = draw("g", { visibility: "hidden" });
  const line = draw("line", { class: "cursor", y1: MARGIN.top, y2: MARGIN.top + scale.down });
  const dots = ["views", "clicks"].map((name) => draw("circle", { class: `dot ${name}`, r: 5 }));
  cursor.append(line, ...dots);
  svg.append(cursor);
  // The table tells a screen reader the same, and better.
  const tip = make("div", { class: "tip", "aria-hidden": "true", hidden: "" });
  place.append(tip);
  const hide = () => { tip.hidden = true; cursor.setAttribute("visibility", "hidden"); };
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("pointermove", (event) => {
    const i = scale.nearest(event.clientX - svg.getBoundingClientRect().left);
    const point = series[i];
    const x = scale.x(i);
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    dots.forEach((dot, n) => { dot.setAttribute("cx", x); dot.setAttribute("cy", scale.y(n ? point.clicks : point.views)); });
    cursor.setAttribute("visibility", "visible");
    tip.replaceChildren(
      make("b", { text: pointLabel(point.at, hourly, true) }),
      make("div", { text: `${number(point.views)} views` }),
      make("div", { text: `${number(point.clicks)} clicks` }),
    );
    tip.hidden = false;
    const left = x + 14 + tip.offsetWidth > place.clientWidth ? x - 14 - tip.offsetWidth : x + 14;
    tip.style.transform = `translate(${Math.max(0, left)}px, ${MARGIN.top}px)`;
  });
}

function table(series, hourly) {
  const head = make("thead", {}, make("tr", {}, ...[hourly ? "Hour" : "Day", "Views", "Clicks"].map((text) => make("th", { scope: "col", text }))));
  const rows = series.map((point) => make("tr", {},
    make("th", { scope: "row", text: pointLabel(point.at, hourly, true) }),
    make("td", { text: number(point.views) }),
    make("td", { text: number(point.clicks) }),
  ));
  const caption = make("caption", { class: "unseen", text: `Views and clicks per ${hourly ? "hour" : "day"}` });
  return make("table", {}, caption, head, make("tbody", {}, ...rows));
}
