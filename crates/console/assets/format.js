// How numbers, times and names are written for people. Days and hours are those of the zone that is looked at.

const whole = new Intl.NumberFormat("en");
const share = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const zones = new Map();
let zone = "UTC";
const clock = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const regions = new Intl.DisplayNames(["en"], { type: "region", fallback: "code" });

/** Above this many, distinct visitors are an estimate. */
export const EXACT_UP_TO = 100;

export const number = (value) => (value === null ? "–" : whole.format(value));
export const compact = (value) => (value < 10000 ? whole.format(value) : short.format(value));
export const ratio = (value) => (value === null ? "–" : share.format(value));
export const percent = (value) => share.format(value / 100);
export const time = (moment) => clock.format(moment);

/** From here on, times are written for this zone. */
export function useZone(name) {
  zone = name;
}

function inZone(name) {
  if (!zones.has(name)) {
    const format = (fields) => new Intl.DateTimeFormat("en", { ...fields, timeZone: name });
    zones.set(name, {
      day: format({ day: "numeric", month: "short" }),
      longDay: format({ weekday: "short", day: "numeric", month: "short", year: "numeric" }),
      hour: format({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" }),
      moment: format({ day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" }),
    });
  }
  return zones.get(name);
}

/** A point's label: short for the axis, long for tables and tips. Some days are UTC's, whatever the zone. */
export function pointLabel(at, { hourly, utc }, long) {
  const [start, formats] = [new Date(at), inZone(utc ? "UTC" : zone)];
  if (hourly) return (long ? formats.moment : formats.hour).format(start);
  return (long ? formats.longDay : formats.day).format(start);
}

export const hourOf = (at) => `${inZone(zone).hour.format(new Date(at))} ${zone}`;
export const momentOf = (at) => inZone(zone).moment.format(new Date(at));
export const utcDay = (at) => inZone("UTC").longDay.format(new Date(at));

/** From one day to another, as the calendar names them. */
export function dayRange(startDate, endDate) {
  const [start, end] = [startDate, endDate].map((date) => utcDay(`${date}T00:00:00Z`));
  return start === end ? start : `${start} – ${end}`;
}

export function periodName({ period }) {
  return { last_24_hours: "the 24 hours", last_7_days: "the 7 days", last_30_days: "the 30 days", last_90_days: "the 90 days" }[period] ?? "the period";
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

/** The flag of a country, for those whose system draws it. */
export function flag(code) {
  if (!/^[A-Z]{2}$/.test(code)) return "";
  return String.fromCodePoint(...[...code].map((letter) => 0x1f1e6 + letter.charCodeAt(0) - 65));
}

export const deviceName = (name) => name.slice(0, 1).toUpperCase() + name.slice(1);

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
