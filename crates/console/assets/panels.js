// The panels around the trend: totals, ranked lists, milestones, and the state of the pipeline.

import { fill, make } from "./element.js";
import { EXACT_UP_TO, bytes, country, deviceName, flag, number, percent, ratio, referrer, seconds, utcDay, webAddress } from "./format.js";

/** Rows of a list that are shown; the CSV has all of them. */
const ROWS = 10;
const place = (id) => document.getElementById(id);
const unseen = (text) => make("span", { class: "unseen", text });

export function showTotals(report) {
  const before = report.previous;
  fill(place("cards"),
    card("Unique visitors", visitors(report.unique_visitors), change(report.unique_visitors, before.unique_visitors)),
    card("Views", [number(report.views)], change(report.views, before.views), "views"),
    card("Clicks", [number(report.clicks)], change(report.clicks, before.clicks), "clicks"),
    card("Click rate", [ratio(report.ctr)], change(report.ctr, before.ctr, ratio, points), "", "Clicks per view of the profile"),
  );
}

/** The totals of a chosen row. */
export function showSlice(report, trend, choice) {
  const share = report.clicks ? (trend.clicks / report.clicks) * 100 : 0;
  const link = choice.link && report.links.find((it) => it.link_id === choice.link);
  fill(place("cards"),
    card("Clicks", [number(trend.clicks)], change(trend.clicks, trend.previous_clicks), "clicks"),
    card("Share of all clicks", [percent(Math.min(100, share))], null),
    link && card("Unique visitors", visitors(link.unique_visitors), change(link.unique_visitors, link.previous.unique_visitors)),
    link && card("Click rate", [ratio(link.ctr)], change(link.ctr, link.previous.ctr, ratio, points), "", "Clicks per view of the profile"),
  );
}

function card(name, value, beside, mark = "", title = null) {
  return make("div", { class: "card", title }, make("div", { class: `name ${mark}`, text: name }), make("div", { class: "value" }, ...value), beside);
}

const inPercent = (value, before) => (before === 0 ? "new" : percent(Math.abs(value / before - 1) * 100));
/** A rate's own change: per cent of per cent would mislead. */
const points = (value, before) => `${number(Math.round(Math.abs(value - before) * 1000) / 10)} points`;

/** How a figure stands against the period before. */
function change(value, before, written = number, apart = inPercent) {
  if (value === null || before === null) return make("div", { class: "change soft", text: "nothing to compare with" });
  if (value === before) return make("div", { class: "change soft", text: "as before" });
  const up = value > before;
  return make("div", { class: `change ${up ? "up" : "down"}`, title: `${written(before)} in the period before` },
    make("span", { "aria-hidden": "true", text: up ? "▲ " : "▼ " }), unseen(up ? "up " : "down "),
    make("span", { text: apart(value, before) }), make("span", { class: "soft", text: ` from ${written(before)}` }));
}

/** Counts of people above a hundred are estimates, and say so. */
function visitors(count) {
  if (count <= EXACT_UP_TO) return [make("span", { text: number(count) })];
  return [
    make("span", { class: "about", title: "Approximate: within about 1 % for a profile, 2 % for a link", "aria-hidden": "true", text: "≈" }),
    unseen("approximately "),
    make("span", { text: number(count) }),
  ];
}

export function showLinks(report, choice) {
  const most = report.links[0]?.clicks || 1;
  const head = make("li", { class: "row row-head", "aria-hidden": "true" }, make("span", { text: "Link" }),
    make("span", { class: "counts" }, make("span", { text: "Visitors" }), make("span", { text: "Click rate" }), make("b", { text: "Clicks" })));
  const rows = report.links.slice(0, ROWS).map((link) => linkRow(link, most, choice));
  list(place("links"), rows.length ? [head, ...rows] : [], report.links_total, "No link is known, and nobody clicked one.", "links");
}

function linkRow(link, most, choice) {
  const url = webAddress(link.url);
  const what = make("span", { class: link.deleted ? "what gone" : "what" },
    chooser("link", link.link_id, link.title || url?.hostname || link.link_id, choice),
    url && make("a", { class: "host", href: url.href, rel: "noopener noreferrer nofollow", target: "_blank", "data-key": `to ${link.link_id}` },
      make("span", { text: url.hostname.replace(/^www\./, "") }), make("span", { "aria-hidden": "true", text: " ↗" }), unseen(" (opens in a new tab)")),
    link.type && link.type !== "classic" && make("span", { class: "tag", text: link.type }),
    link.deleted && make("span", { class: "tag deleted", text: "deleted" }));
  const counts = make("span", { class: "counts" },
    make("span", {}, ...visitors(link.unique_visitors), unseen(" visitors, ")),
    make("span", {}, make("span", { text: ratio(link.ctr) }), unseen(" click rate, ")),
    make("b", {}, make("span", { text: number(link.clicks) }), unseen(" clicks")));
  return row("link", link.link_id, (link.clicks / most) * 100, what, counts, choice);
}

function row(slice, value, share, what, counts, choice) {
  return make("li", { class: choice[slice] === value ? "row chosen" : "row" }, make("span", { class: "bar", share }), what, counts);
}

/** What narrows the board to its row, and widens it again. */
function chooser(slice, value, name, choice) {
  return make("button", { type: "button", class: "title", "data-slice": slice, "data-value": value, "data-key": `${slice} ${value}`, "aria-pressed": String(choice[slice] === value), title: name, text: name });
}

export function showAudience(report, choice) {
  const none = "No clicks in this period.";
  const shares = (slice, value, name, picture, clicks, pct) => row(slice, value, pct,
    make("span", { class: "what place" }, picture && make("span", { class: "flag", "aria-hidden": "true", text: picture }), chooser(slice, value, name, choice)),
    make("span", { class: "counts" }, make("span", { text: percent(pct) }), clicks !== null && make("b", {}, make("span", { text: number(clicks) }), unseen(" clicks"))), choice);
  list(place("referrers"), report.referrers.slice(0, ROWS).map((from) => shares("referrer", from.source, referrer(from.source), "", from.visits, from.pct)), report.referrers_total, none);
  list(place("countries"), report.locations.slice(0, ROWS).map((at) => shares("country", at.country, country(at.country), flag(at.country), at.clicks, at.pct)), report.locations_total, none);
  const devices = ["mobile", "desktop", "tablet", "unknown"].filter((name) => report.devices[name] > 0);
  devices.sort((a, b) => report.devices[b] - report.devices[a]);
  list(place("devices"), devices.map((name) => shares("device", name, deviceName(name), "", null, report.devices[name])), devices.length, none);
  const exact = report.days_from === report.start && report.days_to === report.end;
  place("days-note").hidden = exact;
  const last = new Date(Date.parse(report.days_to) - 1);
  place("days-note").textContent = `Visitors, referrers, countries and devices are kept by UTC day, and counted here from ${utcDay(report.days_from)} to ${utcDay(last)}.`;
}

function list(where, rows, total, none, kind = "") {
  if (rows.length === 0) return fill(where, make("p", { class: "none", text: none }));
  const beyond = total - ROWS;
  return fill(where, make("ol", { class: `rows ${kind}` }, ...rows),
    beyond > 0 && make("p", { class: "more", text: `and ${number(beyond)} more, in the CSV` }));
}

export function showMilestones(report, choice) {
  const titles = new Map(report.links.map((link) => [link.link_id, link.title || link.link_id]));
  const reached = report.milestones.filter((it) => !choice.link || it.link_id === choice.link);
  const rows = reached.slice(0, ROWS).map((it) => make("li", { class: "row" },
    make("span", { class: "what" },
      make("span", { class: "title", text: `${number(it.threshold ?? it.value)} ${it.metric ?? "reached"}` }),
      it.link_id && make("span", { class: "host", text: titles.get(it.link_id) ?? it.link_id })),
    make("time", { class: "soft", datetime: it.at, text: it.at.slice(0, 10) })));
  if (rows.length === 0) fill(place("milestones"), make("p", { class: "none", text: "None reached yet." }));
  else fill(place("milestones"), make("ol", { class: "rows" }, ...rows));
}

export function showPipeline(status) {
  const { outbox, queue } = status;
  const depth = queue && ("events" in queue ? `${number(queue.events)} events` : `${number(queue.messages)} messages`);
  const spooled = outbox && (outbox.events ? `${number(outbox.events)} events, ${bytes(outbox.bytes)}, oldest ${seconds(outbox.oldest_seconds)}` : "empty");
  fill(place("pipeline"),
    status.broker !== "none" && fact("Broker", status.broker, `state ${status.broker}`),
    fact("Database", status.database, `state ${status.database}`),
    status.accepted !== null && fact("Accepted", number(status.accepted)),
    fact("Applied", number(status.applied)),
    fact("Duplicates", number(status.duplicates)),
    make("div", {}, make("dt", { text: "Dead letters" }), make("dd", { class: status.dead ? "bad" : "" }, make("a", { href: "dead-letters", "data-key": "dead", text: number(status.dead) }))),
    depth && fact("Queue", depth),
    spooled && fact("Outbox", spooled),
    fact("Lag", seconds(status.lag_seconds)),
  );
}

function fact(name, value, mark = "") {
  return make("div", {}, make("dt", { text: name }), make("dd", { class: mark, text: value }));
}
