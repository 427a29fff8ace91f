// The current hour: counts are kept by the hour, so "live" is this hour so far, and the one before it.

import { ask } from "./address.js";
import { hourOf, number } from "./format.js";

const EVERY_MS = 10000;
const place = (id) => document.getElementById(id);
let watched = null;
let timer = 0;

/** Keeps the figures of this profile fresh; none of nobody. */
export function watchHour(profile) {
  if (profile === watched) return;
  watched = profile;
  place("live").hidden = !profile;
  clearTimeout(timer);
  if (profile) tick(profile);
}

async function tick(profile) {
  if (!document.hidden) {
    // The board says when the server cannot be reached; here the last figures stay.
    const text = await ask(`api/v1/profiles/${encodeURIComponent(profile)}/analytics?period=last_24_hours`).catch(() => null);
    if (profile !== watched) return;
    if (text) show(JSON.parse(text).series.slice(-2));
  }
  timer = setTimeout(tick, EVERY_MS, profile);
}

function show([before, now]) {
  write("live-since", `since ${hourOf(now.at)}`);
  write("live-views", number(now.views));
  write("live-clicks", number(now.clicks));
  write("live-before", `${number(before.views)} views and ${number(before.clicks)} clicks the hour before`);
}

/** Only what changes is touched, so nothing flickers. */
function write(id, text) {
  if (place(id).textContent !== text) place(id).textContent = text;
}
