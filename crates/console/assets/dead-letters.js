// The page of dead letters: list, show, redrive, discard; whatever cannot be taken back asks first.

import { ask, reasonOf } from "./address.js";
import { make } from "./element.js";
import { momentOf, number } from "./format.js";

const PAGE = 50;
const place = (id) => document.getElementById(id);
const chosen = new Map();
let next = null;

const FILTERS = ["reason", "source", "type", "profile"];
const narrowed = () => Object.fromEntries([...new URLSearchParams(location.search)].filter(([name, value]) => value && FILTERS.includes(name)));

/** Fetches a page and puts it below those that are there. */
async function load(after) {
  const query = new URLSearchParams({ ...narrowed(), limit: PAGE, ...(after ? { after } : {}) });
  try {
    const page = JSON.parse(await ask(`api/v1/dead-letters?${query}`));
    if (!after) place("rows").replaceChildren();
    place("rows").append(...page.dead_letters.map(row));
    next = page.next;
  } catch (error) {
    say(`Could not be listed: ${reasonOf(error)}.`);
  }
  place("main").setAttribute("aria-busy", "false");
  showState();
}

function restart() {
  for (const name of FILTERS) place("narrow").elements[name].value = narrowed()[name] ?? "";
  chosen.clear();
  return load(null);
}

function showState() {
  const rows = place("rows").children.length;
  place("letters").hidden = rows === 0;
  place("none").hidden = rows > 0;
  place("none-why").textContent = Object.keys(narrowed()).length ? "None fits what the list is narrowed to." : "Everything that was accepted could be counted.";
  place("more").hidden = next === null;
  place("all").checked = rows > 0 && chosen.size === rows;
  place("all").indeterminate = chosen.size > 0 && chosen.size < rows;
  place("chosen").textContent = chosen.size ? `${number(chosen.size)} chosen` : `${number(rows)} shown`;
  place("redrive").disabled = place("discard").disabled = chosen.size === 0;
}

function row(letter) {
  const box = make("input", { type: "checkbox", "aria-label": `Choose ${letter.reason}, ${letter.event_id}` });
  const element = make("li", { "data-id": letter.id });
  box.addEventListener("change", () => {
    if (box.checked) chosen.set(letter.id, element); else chosen.delete(letter.id);
    showState();
  });
  const body = make("pre", { tabindex: "0", text: "…" });
  const whole = make("details", {}, make("summary", { text: "Event" }), body);
  whole.addEventListener("toggle", () => { if (whole.open) show(letter.id, body); });
  element.append(make("label", { class: "choose" }, box),
    make("div", { class: "letter" },
      make("div", { class: "letter-head" }, make("b", { class: "reason", text: letter.reason }), make("span", { class: "tag", text: letter.source }), make("span", { class: "tag", text: letter.type }),
        letter.profile_id && make("span", { class: "tag", text: letter.profile_id })),
      make("div", { class: "soft" }, make("time", { datetime: letter.last_at, text: `${momentOf(letter.last_at)} UTC` }),
        letter.attempts > 1 && make("span", { text: `buried ${number(letter.attempts)} times since ${momentOf(letter.first_at)} UTC` }), make("code", { text: letter.id })),
      whole));
  return element;
}

/** The event as it will be published again. */
async function show(id, body) {
  try {
    const { event } = JSON.parse(await ask(`api/v1/dead-letters/${id}`));
    body.textContent = typeof event === "string" ? event : JSON.stringify(event, null, 2);
  } catch (error) {
    body.textContent = `Could not be shown: ${reasonOf(error)}.`;
  }
}

/** Asks, and says what was answered. */
function sure(title, text, answer, danger) {
  place("sure-title").textContent = title;
  place("sure-text").textContent = text;
  place("yes").textContent = answer;
  place("yes").className = danger ? "danger" : "";
  place("sure").showModal();
  place("no").focus();
  return new Promise((resolve) => {
    const answers = new AbortController();
    const give = (answered) => { answers.abort(); place("sure").close(); resolve(answered); };
    place("yes").addEventListener("click", () => give(true), answers);
    place("no").addEventListener("click", () => give(false), answers);
    place("sure").addEventListener("cancel", () => give(false), answers);
  });
}

/** One after the other: what fails stays in the list, and the rest goes on. */
async function deal(done, method, path) {
  place("redrive").disabled = place("discard").disabled = true;
  let [dealt, failed] = [0, null];
  for (const [id, element] of [...chosen]) {
    try {
      await ask(`api/v1/dead-letters/${id}${path}`, { method });
    } catch (error) {
      // Somebody else was faster: it is gone, which is what was wanted.
      if (error.code !== "dead_letter_not_found") { failed = error; break; }
    }
    element.remove();
    chosen.delete(id);
    dealt += 1;
  }
  say(`${done} ${number(dealt)}.${failed ? ` Stopped: ${reasonOf(failed)}.` : ""}`);
  if (place("rows").children.length === 0) await load(null); else showState();
  place("all").focus();
}

const count = () => (chosen.size === 1 ? "this dead letter" : `${number(chosen.size)} dead letters`);

function say(text) {
  place("notice").hidden = false;
  place("notice").textContent = text;
}

place("redrive").addEventListener("click", async () => {
  if (await sure(`Redrive ${count()}?`, "What is still wrong with an event brings it back here.", "Redrive", false)) await deal("Redriven:", "POST", "/redrive");
});
place("discard").addEventListener("click", async () => {
  if (await sure(`Discard ${count()}?`, "Nobody can bring a discarded event back, and it will never be counted.", "Discard for good", true)) await deal("Discarded:", "DELETE", "");
});
place("all").addEventListener("change", (event) => {
  // Each click below shows the state anew, this box's own included.
  const wanted = event.target.checked;
  for (const box of place("rows").querySelectorAll(".choose input")) {
    if (box.checked !== wanted) box.click();
  }
});
place("more").addEventListener("click", () => load(next));
place("narrow").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = [...new FormData(event.target)].filter(([, value]) => value.trim());
  history.pushState(null, "", `?${new URLSearchParams(given.map(([name, value]) => [name, value.trim()]))}`);
  restart();
});
addEventListener("popstate", restart);
restart();
