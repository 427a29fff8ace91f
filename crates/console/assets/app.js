// The dashboard: which profile and period are meant (the address says), what to fetch, when to show it.

import { showTrend } from "./chart.js";
import { fill, make } from "./element.js";
import { dayRange, time } from "./format.js";
import { showAudience, showLinks, showMilestones, showPipeline, showTotals } from "./panels.js";

const REFRESH_MS = 30000;
/** While there is nothing to see, the first event should not wait half a minute. */
const FIRST_EVENT_MS = 5000;
const PERIODS = [["last_24_hours", "24 h", "Last 24 hours"], ["last_7_days", "7 d", "Last 7 days"], ["last_30_days", "30 d", "Last 30 days"], ["last_90_days", "90 d", "Last 90 days"]];
const place = (id) => document.getElementById(id);

let profiles = [];
let moreProfiles = false;
let seen = { report: "", status: "" };
let timer = 0;
let underWay = new AbortController();

class Refused extends Error {
  constructor(status, problem) {
    super(problem?.detail ?? `the server answered ${status}`);
    this.code = problem?.code;
  }
}

/** The answer's text: what is shown is only redrawn when that changes. */
async function ask(path, signal) {
  const answer = await fetch(path, { signal, headers: { accept: "application/json" } });
  if (answer.ok) return answer.text();
  // Signed out, or the token changed: the server shows the way in.
  if (answer.status === 401) location.reload();
  throw new Refused(answer.status, await answer.json().catch(() => null));
}

function readAddress() {
  const query = new URLSearchParams(location.search);
  const [from, to] = [query.get("from"), query.get("to")];
  const named = PERIODS.some(([name]) => name === query.get("period")) ? query.get("period") : "last_30_days";
  return { profile: query.get("profile"), ...(from && to ? { from, to } : { period: named }) };
}

function address(choice) {
  return `?${new URLSearchParams(Object.entries(choice).filter(([, value]) => value))}`;
}

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
  const [listed, status] = await Promise.all([ask("api/v1/profiles?limit=500", signal), ask("api/v1/status", signal).catch((error) => error)]);
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
  if (!choice.profile) { place("board").hidden = true; return; }
  const { profile, ...period } = choice;
  const path = `api/v1/profiles/${encodeURIComponent(profile)}/report`;
  place("export").href = `${path}${address({ ...period, format: "csv" })}`;
  const text = await ask(`${path}${address({ ...period, limit: 100 })}`, signal);
  place("export").hidden = place("board").hidden = false;
  if (text !== seen.report) {
    seen.report = text;
    show(JSON.parse(text));
  }
  place("updated").textContent = `Updated ${time(new Date())}`;
  if (typeof status !== "string") throw status;
}

function show(report) {
  const name = nameOf(report.profile);
  document.title = `${name} · treehook`;
  place("heading").textContent = name;
  place("span").textContent = dayRange(report.start_date, report.end_date);
  const hourly = report.series.length > 1 && Date.parse(report.series[1].at) - Date.parse(report.series[0].at) === 3600000;
  showTotals(report);
  showTrend(place("chart"), place("twin"), report.series, hourly, Date.parse(report.end) > Date.now());
  showLinks(report);
  showAudience(report);
  showMilestones(report);
}

function nameOf(profile) {
  return profile.display_name || (profile.username && `@${profile.username}`) || profile.profile_id;
}

/** The switchers follow the address, so that Back and a shared link show what they should. */
function showControls() {
  const choice = readAddress();
  const links = PERIODS.map(([period, text, label]) => make("a", {
    href: address({ profile: choice.profile, period }), "aria-label": label, "aria-current": choice.period === period ? "true" : null, "data-key": period, text,
  }));
  fill(place("periods"), ...links);
  place("custom").classList.toggle("chosen", Boolean(choice.from));
  if (document.activeElement?.form !== place("range")) {
    place("range").elements.from.value = (choice.from ?? "").slice(0, 10);
    place("range").elements.to.value = (choice.to ?? "").slice(0, 10);
  }
  showProfiles(choice.profile ?? profiles[0]?.profile_id);
}

function showProfiles(chosen) {
  const select = place("profile");
  const options = profiles.map((profile) => ({ value: profile.profile_id, text: nameOf(profile) }));
  if (chosen && !options.some((option) => option.value === chosen)) options.unshift({ value: chosen, text: chosen });
  const key = JSON.stringify([options, chosen, moreProfiles]);
  // Rebuilding an open list would close it under somebody's pointer.
  if (select.dataset.shown === key) return;
  select.dataset.shown = key;
  const note = moreProfiles && make("option", { disabled: "", text: "More than 500: name one as ?profile= in the address" });
  select.replaceChildren(...options.map((option) => make("option", option)), ...(note ? [note] : []));
  select.disabled = options.length === 0;
  if (chosen) select.value = chosen;
}

/** One line above the numbers; the numbers themselves stay, since old ones are better than none. */
function say(error) {
  const notice = place("notice");
  notice.hidden = error === null;
  if (error === null) return;
  const gone = error.code === "profile_not_found" || error.code === "invalid_parameter";
  if (gone) { place("board").hidden = true; seen.report = ""; }
  const reason = error instanceof Refused ? error.message : "the server cannot be reached";
  const text = gone ? `Nothing to show: ${reason}.` : `Could not refresh: ${reason}. Trying again by itself.`;
  if (notice.textContent !== text) notice.textContent = text;
}

place("periods").addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  choose(Object.fromEntries(new URLSearchParams(new URL(link.href).search)));
});
place("profile").addEventListener("change", (event) => choose({ ...readAddress(), profile: event.target.value }));
place("range").addEventListener("submit", (event) => {
  event.preventDefault();
  const { from, to } = Object.fromEntries(new FormData(event.target));
  place("custom").open = false;
  choose({ profile: readAddress().profile, from, to });
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(false); });
addEventListener("popstate", () => refresh(true));
refresh(true);
