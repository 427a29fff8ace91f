// The dashboard: what to fetch for what the address names, and when to show it.

import { PERIODS, address, ask, readAddress, reasonOf, sliceOf, timeOf, whole } from "./address.js";
import { showTrend } from "./chart.js";
import { fill, make } from "./element.js";
import { country, dayRange, deviceName, periodName, referrer, time, useZone } from "./format.js";
import { showHistory } from "./history.js";
import { watchLive } from "./live.js";
import { showAudience, showLinks, showMilestones, showPipeline, showSlice, showTotals } from "./panels.js";

const REFRESH_MS = 30000;
/** While there is nothing to see, the first event should not wait half a minute. */
const FIRST_EVENT_MS = 5000;
const place = (id) => document.getElementById(id);

let profiles = [];
let moreProfiles = false;
let seen = { board: "", status: "", history: "" };
let timer = 0;
let underWay = new AbortController();

function choose(choice) {
  history.pushState(null, "", address(choice));
  refresh(true);
}

/** Fetches and shows. `changed`: somebody asked for something else, so the old numbers are dimmed. */
async function refresh(changed) {
  clearTimeout(timer);
  underWay.abort();
  underWay = new AbortController();
  const { signal } = underWay;
  showControls();
  if (changed) place("board").classList.add("stale");
  try {
    await load(signal);
    say(null);
  } catch (error) {
    if (signal.aborted) return;
    say(error);
  }
  place("board").classList.remove("stale");
  place("main").setAttribute("aria-busy", "false");
  timer = setTimeout(() => { if (!document.hidden) refresh(false); }, profiles.length ? REFRESH_MS : FIRST_EVENT_MS);
}

async function load(signal) {
  const [listed, status] = await Promise.all([ask("api/v1/profiles?limit=500", { signal }), ask("api/v1/status", { signal }).catch((error) => error)]);
  const page = JSON.parse(listed);
  profiles = page.profiles;
  moreProfiles = page.next !== null;
  if (typeof status === "string" && status !== seen.status) {
    seen.status = status;
    showPipeline(JSON.parse(status));
  }
  const choice = readAddress();
  choice.profile ??= profiles[0]?.profile_id;
  showControls();
  place("empty").hidden = Boolean(choice.profile);
  watchLive(choice.profile);
  if (!choice.profile) { place("board").hidden = true; return; }
  await loadBoard(choice, signal);
  place("updated").textContent = `Updated ${time(new Date())}`;
  if (typeof status !== "string") throw status;
}

async function loadBoard(choice, signal) {
  const root = `api/v1/profiles/${encodeURIComponent(choice.profile)}`;
  const [period, slice] = [{ ...timeOf(choice), compare: "previous" }, sliceOf(choice)];
  place("export").href = `${root}/report${address({ ...period, format: "csv" })}`;
  const [report, trend, changes] = await Promise.all([
    ask(`${root}/report${address({ ...period, limit: 100 })}`, { signal }),
    slice && ask(`${root}/trend${address({ ...period, [slice[0]]: slice[1] })}`, { signal }),
    ask(`${root}/history?limit=10`, { signal }),
  ]);
  place("export").hidden = place("board").hidden = false;
  const board = `${report}\n${trend}\n${slice}`;
  if (board !== seen.board) show(JSON.parse(report), trend && JSON.parse(trend), choice);
  const lives = `${root} ${slice} ${changes}`;
  if (lives !== seen.history) {
    const titles = new Map(JSON.parse(report).links.map((link) => [link.link_id, link.title || link.link_id]));
    showHistory(root, JSON.parse(changes), choice.link ?? null, titles);
  }
  seen = { ...seen, board, history: lives };
}

function show(report, trend, choice) {
  useZone(report.tz);
  const name = nameOf(report.profile);
  document.title = `${name} · treehook`;
  place("heading").textContent = name;
  place("span").textContent = `${dayRange(report.start_date, report.end_date)}, ${report.tz}, compared with ${periodName(choice)} before`;
  const series = trend?.series ?? report.series;
  const hourly = series.length > 1 && Date.parse(series[1].at) - Date.parse(series[0].at) === 3600000;
  if (trend) showSlice(report, trend, choice); else showTotals(report);
  showTrend(place("chart"), place("twin"), series, {
    hourly, unfinished: Date.parse(report.end) > Date.now(), views: !trend, utc: Boolean(trend) && trend.by !== "link",
  });
  showFilter(report, trend);
  showLinks(report, choice);
  showAudience(report, choice);
  showMilestones(report, choice);
}

function showFilter(report, trend) {
  place("filter").hidden = !trend;
  place("trend-title").textContent = trend ? "Clicks" : "Trend";
  place("views-key").hidden = Boolean(trend);
  if (!trend) return;
  const link = report.links.find((it) => it.link_id === trend.value);
  const names = { link: () => link?.title || trend.value, country: () => country(trend.value), referrer: () => referrer(trend.value), device: () => deviceName(trend.value) };
  place("filter-name").textContent = `${trend.by}: ${names[trend.by]()}`;
}

function nameOf(profile) {
  return profile.display_name || (profile.username && `@${profile.username}`) || profile.profile_id;
}

/** The switchers follow the address, so that Back and a shared link show what they should. */
function showControls() {
  const choice = readAddress();
  const { from, to, ...rest } = choice;
  const links = PERIODS.map(([period, text, label]) => make("a", {
    href: address({ ...rest, period }), "aria-label": label, "aria-current": choice.period === period ? "true" : null, "data-key": period, text,
  }));
  fill(place("periods"), ...links);
  place("custom").classList.toggle("chosen", Boolean(from));
  if (document.activeElement?.form !== place("range")) {
    place("range").elements.from.value = (from ?? "").slice(0, 10);
    place("range").elements.to.value = (to ?? "").slice(0, 10);
  }
  const chosen = choice.profile ?? profiles[0]?.profile_id;
  const named = profiles.map((profile) => ({ value: profile.profile_id, text: nameOf(profile) }));
  const note = moreProfiles ? "More than 500: name one as ?profile= in the address" : null;
  options(place("profile"), named, chosen, note);
  const zones = [...new Set(["UTC", Intl.DateTimeFormat().resolvedOptions().timeZone])].filter(Boolean);
  options(place("tz"), zones.map((zone) => ({ value: zone, text: zone.replaceAll("_", " ") })), choice.tz ?? "UTC", null);
}

function options(select, choices, chosen, note) {
  if (chosen && !choices.some((option) => option.value === chosen)) choices.unshift({ value: chosen, text: chosen });
  const key = JSON.stringify([choices, chosen, note]);
  // Rebuilding an open list would close it under somebody's pointer.
  if (select.dataset.shown === key) return;
  select.dataset.shown = key;
  select.replaceChildren(...choices.map((option) => make("option", option)), ...(note ? [make("option", { disabled: "", text: note })] : []));
  select.disabled = choices.length === 0;
  if (select.disabled) select.append(make("option", { text: "None yet" }));
  if (chosen) select.value = chosen;
}

/** One line above the numbers; the numbers themselves stay, since old ones are better than none. */
function say(error) {
  const notice = place("notice");
  notice.hidden = error === null;
  if (error === null) return;
  const gone = error.code === "profile_not_found" || error.code === "invalid_parameter";
  if (gone) { place("board").hidden = true; seen.board = ""; }
  const reason = reasonOf(error);
  const text = gone ? `Nothing to show: ${reason}.` : `Could not refresh: ${reason}. Trying again by itself.`;
  if (notice.textContent !== text) notice.textContent = text;
}

place("periods").addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  choose(Object.fromEntries(new URLSearchParams(new URL(link.href).search)));
});
// Another profile has other links.
place("profile").addEventListener("change", (event) => choose({ ...whole(readAddress()), profile: event.target.value }));
place("tz").addEventListener("change", (event) => choose({ ...readAddress(), tz: event.target.value }));
place("board").addEventListener("click", (event) => {
  const row = event.target.closest("button[data-slice]");
  if (!row) return;
  const [choice, { slice, value }] = [readAddress(), row.dataset];
  choose({ ...whole(choice), ...(choice[slice] === value ? {} : { [slice]: value }) });
});
place("unfilter").addEventListener("click", () => choose(whole(readAddress())));
place("range").addEventListener("submit", (event) => {
  event.preventDefault();
  const { from, to } = Object.fromEntries(new FormData(event.target));
  place("custom").open = false;
  const { period, ...choice } = readAddress();
  choose({ ...choice, from, to });
});
place("custom").addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  place("custom").open = false;
  place("custom").querySelector("summary").focus();
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(false); });
addEventListener("popstate", () => refresh(true));
refresh(true);
