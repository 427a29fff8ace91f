// Live figures: the last half hour, and the one before it.

import { ask } from "./address.js";
import { hourOf, number } from "./format.js";

const EVERY_MS = 10000;
const place = (id) => document.getElementById(id);
let watched = null;
let timer = 0;

/** Keeps the figures of this profile fresh; none of nobody. */
export function watchLive(profile) {
  if (profile === watched) return;
  watched = profile;
  place("live").hidden = !profile;
  clearTimeout(timer);
  if (profile) tick(profile);
}

async function tick(profile) {
  if (!document.hidden) {
    // The board says when the server cannot be reached; here the last figures stay.
    const text = await ask(`api/v1/profiles/${encodeURIComponent(profile)}/live`).catch(() => null);
    if (profile !== watched) return;
    if (text) show(JSON.parse(text));
  }
  timer = setTimeout(tick, EVERY_MS, profile);
}

function show(live) {
  const { previous: before } = live;
  write("live-since", `since ${hourOf(live.start)}`);
  write("live-views", number(live.views));
  write("live-clicks", number(live.clicks));
  write("live-before", `${number(before.views)} views and ${number(before.clicks)} clicks in the 30 minutes before`);
}

/** Only what changes is touched, so nothing flickers. */
function write(id, text) {
  if (place(id).textContent !== text) place(id).textContent = text;
}
