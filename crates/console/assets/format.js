// How numbers, times and names are written for people. Days and hours are UTC, as they are counted.

const whole = new Intl.NumberFormat("en");
const share = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const day = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", timeZone: "UTC" });
const longDay = new Intl.DateTimeFormat("en", { weekday: "short", day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
const hour = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone: "UTC" });
const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const regions = new Intl.DisplayNames(["en"], { type: "region", fallback: "code" });

/** Above this many, distinct visitors are an estimate. */
export const EXACT_UP_TO = 100;

export const number = (value) => (value === null ? "–" : whole.format(value));
export const compact = (value) => (value < 10000 ? whole.format(value) : short.format(value));
export const ratio = (value) => (value === null ? "–" : share.format(value));
export const percent = (value) => share.format(value / 100);
export const time = (moment) => clock.format(moment);

/** A point's label: short for the axis, long for tables and tips. */
export function pointLabel(at, hourly, long) {
  const moment = new Date(at);
  if (hourly) return long ? `${day.format(moment)}, ${hour.format(moment)} UTC` : hour.format(moment);
  return long ? longDay.format(moment) : day.format(moment);
}

export function dayRange(startDate, endDate) {
  const [start, end] = [startDate, endDate].map((date) => longDay.format(new Date(`${date}T00:00:00Z`)));
  return start === end ? `${start}, UTC` : `${start} – ${end}, UTC`;
}

export function seconds(value) {
  if (value === null) return "–";
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 120) return `${value.toFixed(value < 10 ? 1 : 0)} s`;
  if (value < 7200) return `${Math.round(value / 60)} min`;
  return value < 172800 ? `${Math.round(value / 3600)} h` : `${Math.round(value / 86400)} d`;
}

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let step = 0;
  while (value >= 1024 && step < units.length - 1) { value /= 1024; step += 1; }
  return `${value.toFixed(step && value < 10 ? 1 : 0)} ${units[step]}`;
}

export function country(code) {
  if (!/^[A-Z]{2}$/.test(code)) return "Unknown";
  try { return regions.of(code); } catch { return code; }
}

export function referrer(source) {
  return { direct: "Direct", unknown: "Unknown" }[source] ?? source;
}

/** A stranger's URL as something to follow; null for all that is not plainly a web address. */
export function webAddress(text) {
  if (!text) return null;
  let url;
  try { url = new URL(text); } catch { return null; }
  return url.protocol === "https:" || url.protocol === "http:" ? url : null;
}
