// The panels around the trend: totals, ranked lists, milestones, and the state of the pipeline.

import { fill, make } from "./element.js";
import { EXACT_UP_TO, bytes, country, number, percent, ratio, referrer, seconds, webAddress } from "./format.js";

/** Rows of a list that are shown; the CSV has all of them. */
const ROWS = 10;
const place = (id) => document.getElementById(id);

export function showTotals(report) {
  fill(place("cards"),
    card("Unique visitors", visitors(report.unique_visitors)),
    card("Views", [number(report.views)], "views"),
    card("Clicks", [number(report.clicks)], "clicks"),
    card("Click rate", [ratio(report.ctr)], "", "Clicks per view of the profile"),
  );
}

function card(name, value, mark = "", title = null) {
  return make("div", { class: "card", title }, make("div", { class: `name ${mark}`, text: name }), make("div", { class: "value" }, ...value));
}

/** Counts of people above a hundred are estimates, and say so. */
function visitors(count) {
  if (count <= EXACT_UP_TO) return [number(count)];
  return [
    make("span", { class: "about", title: "Approximate: within about 1 % for a profile, 2 % for a link", "aria-hidden": "true", text: "≈" }),
    make("span", { class: "unseen", text: "approximately " }),
    number(count),
  ];
}

export function showLinks(report) {
  const most = report.links[0]?.clicks || 1;
  const head = make("li", { class: "row row-head", "aria-hidden": "true" }, make("span", { text: "Link" }),
    make("span", { class: "counts" }, make("span", { text: "Visitors" }), make("span", { text: "Click rate" }), make("b", { text: "Clicks" })));
  const rows = report.links.slice(0, ROWS).map((link) => linkRow(link, most));
  list(place("links"), rows.length ? [head, ...rows] : [], report.links_total, "No link is known, and nobody clicked one.", "links");
}

function linkRow(link, most) {
  const url = webAddress(link.url);
  const name = link.title || url?.hostname || link.link_id;
  const title = url
    ? make("a", { class: "title", href: url.href, rel: "noopener noreferrer nofollow", target: "_blank", "data-key": link.link_id, text: name })
    : make("span", { class: "title", text: name });
  const what = make("span", { class: link.deleted ? "what gone" : "what" }, title,
    url && link.title && make("span", { class: "host", text: url.hostname.replace(/^www\./, "") }),
    link.type && link.type !== "classic" && make("span", { class: "tag", text: link.type }),
    link.deleted && make("span", { class: "tag deleted", text: "deleted" }));
  const counts = make("span", { class: "counts" },
    make("span", {}, ...visitors(link.unique_visitors), unseen(" visitors, ")),
    make("span", {}, ratio(link.ctr), unseen(" click rate, ")),
    make("b", {}, number(link.clicks), unseen(" clicks")));
  return make("li", { class: "row" }, make("span", { class: "bar", share: (link.clicks / most) * 100 }), what, counts);
}

const unseen = (text) => make("span", { class: "unseen", text });

export function showAudience(report) {
  const row = (name, clicks, pct) => shareRow(name, clicks, pct);
  list(place("referrers"), report.referrers.slice(0, ROWS).map((from) => row(referrer(from.source), from.visits, from.pct)),
    report.referrers_total, "No clicks in this period.");
  list(place("countries"), report.locations.slice(0, ROWS).map((at) => row(country(at.country), at.clicks, at.pct)),
    report.locations_total, "No clicks in this period.");
  const devices = ["mobile", "desktop", "tablet", "unknown"].filter((name) => report.devices[name] > 0);
  devices.sort((a, b) => report.devices[b] - report.devices[a]);
  list(place("devices"), devices.map((name) => row(name[0].toUpperCase() + name.slice(1), null, report.devices[name])),
    devices.length, "No clicks in this period.");
}

function shareRow(name, clicks, pct) {
  const counts = make("span", { class: "counts" }, make("span", { text: percent(pct) }), clicks !== null && make("b", {}, number(clicks), unseen(" clicks")));
  return make("li", { class: "row" }, make("span", { class: "bar", share: pct }), make("span", { class: "what" }, make("span", { class: "title", text: name })), counts);
}

function list(where, rows, total, none, kind = "") {
  if (rows.length === 0) return fill(where, make("p", { class: "none", text: none }));
  const beyond = total - ROWS;
  return fill(where, make("ol", { class: `rows ${kind}` }, ...rows),
    beyond > 0 && make("p", { class: "more", text: `and ${number(beyond)} more, in the CSV` }));
}

export function showMilestones(report) {
  const titles = new Map(report.links.map((link) => [link.link_id, link.title || link.link_id]));
  const rows = report.milestones.slice(0, ROWS).map((reached) => make("li", { class: "row" },
    make("span", { class: "what" },
      make("span", { class: "title", text: `${number(reached.threshold ?? reached.value)} ${reached.metric ?? "reached"}` }),
      reached.link_id && make("span", { class: "host", text: titles.get(reached.link_id) ?? reached.link_id })),
    make("time", { class: "soft", datetime: reached.at, text: reached.at.slice(0, 10) })));
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
    fact("Dead letters", number(status.dead), status.dead ? "bad" : ""),
    depth && fact("Queue", depth),
    spooled && fact("Outbox", spooled),
    fact("Lag", seconds(status.lag_seconds)),
  );
}

function fact(name, value, mark = "") {
  return make("div", {}, make("dt", { text: name }), make("dd", { class: mark, text: value }));
}
