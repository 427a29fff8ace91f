// What is looked at, as the address says it: profile, period, time zone, and the row that was chosen.

export const PERIODS = [["last_24_hours", "24 h", "Last 24 hours"], ["last_7_days", "7 d", "Last 7 days"], ["last_30_days", "30 d", "Last 30 days"], ["last_90_days", "90 d", "Last 90 days"]];
/** By what a board can be narrowed. */
export const SLICES = ["link", "country", "referrer", "device"];

export function readAddress() {
  const query = new URLSearchParams(location.search);
  const [from, to] = [query.get("from"), query.get("to")];
  const named = PERIODS.some(([name]) => name === query.get("period")) ? query.get("period") : "last_30_days";
  const by = SLICES.find((slice) => query.get(slice));
  return {
    profile: query.get("profile"), tz: query.get("tz"),
    ...(from && to ? { from, to } : { period: named }),
    ...(by ? { [by]: query.get(by) } : {}),
  };
}

export function address(choice) {
  return `?${new URLSearchParams(Object.entries(choice).filter(([, value]) => value))}`;
}

/** The chosen row as `[by, value]`; null for the whole profile. */
export function sliceOf(choice) {
  const by = SLICES.find((slice) => choice[slice]);
  return by ? [by, choice[by]] : null;
}

/** The choice without its row. */
export function whole(choice) {
  return Object.fromEntries(Object.entries(choice).filter(([name]) => !SLICES.includes(name)));
}

/** What the API takes of a choice: time alone. */
export function timeOf({ period, from, to, tz }) {
  return { period, from, to, tz };
}

class Refused extends Error {
  constructor(status, problem) {
    super(problem?.detail ?? `the server answered ${status}`);
    this.code = problem?.code;
  }
}

/** The answer's text: what is shown is only redrawn when that changes. */
export async function ask(path, { signal, method = "GET" } = {}) {
  const answer = await fetch(path, { signal, method, headers: { accept: "application/json" } });
  if (answer.ok) return answer.text();
  // Signed out, or the token changed: the server shows the way in.
  if (answer.status === 401) location.reload();
  throw new Refused(answer.status, await answer.json().catch(() => null));
}

export const reasonOf = (error) => (error instanceof Refused ? error.message : "the server cannot be reached");
