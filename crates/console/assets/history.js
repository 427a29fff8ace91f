// The life of links: what changed, when, and who told; a page at a time.

import { ask } from "./address.js";
import { fill, make } from "./element.js";
import { momentOf } from "./format.js";

const VERBS = { "link.created": "created", "link.updated": "changed", "link.deleted": "deleted", "profile.updated": "profile changed" };
const place = (id) => document.getElementById(id);

/** Shows the first page; the button brings the next ones. `link`: only this one's life. `titles`: names of links by id. */
export function showHistory(root, page, link, titles) {
  const rowsOf = (shown) => shown.history.filter((it) => !link || it.link_id === link).map((it) => row(it, titles));
  const rows = rowsOf(page);
  if (rows.length === 0 && page.next === null) {
    fill(place("history"), make("p", { class: "none", text: link ? "No change of this link is known." : "No change is known yet." }));
    return;
  }
  const list = make("ol", { class: "rows changes" }, ...rows);
  const more = make("button", { type: "button", class: "more-rows", text: "Show earlier changes", "data-key": "earlier" });
  let next = page.next;
  more.hidden = next === null;
  more.addEventListener("click", async () => {
    more.disabled = true;
    const text = await ask(`${root}/history?limit=20&after=${encodeURIComponent(next)}`).catch(() => null);
    more.disabled = false;
    if (!text) { more.textContent = "Could not be fetched; try again"; return; }
    const earlier = JSON.parse(text);
    list.append(...rowsOf(earlier));
    none.hidden = list.children.length > 0;
    next = earlier.next;
    more.hidden = next === null;
  });
  const none = make("p", { class: "none", text: "No change of this link is among the latest." });
  fill(place("history"), rows.length === 0 && none, list, more);
}

function row(change, titles) {
  const said = Object.entries(change.changes ?? {}).map(([field, value]) => make("span", { class: "said" },
    make("b", { text: `${field} ` }), make("span", { text: value === null ? "none" : String(value) })));
  const unreadable = change.changes === null && make("span", { class: "said", text: "written by another version; this one cannot read it" });
  return make("li", { class: "row" },
    make("span", { class: "what" },
      make("span", { class: `tag ${change.type === "link.deleted" ? "deleted" : ""}`, text: VERBS[change.type] ?? change.type }),
      change.link_id && make("span", { class: "title", text: titles.get(change.link_id) ?? change.link_id }), ...said, unreadable),
    make("span", { class: "when" }, make("time", { datetime: change.at, text: momentOf(change.at) }), make("span", { text: ` by ${change.source}` })));
}
