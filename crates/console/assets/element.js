// Making elements. Text goes in as text, whatever it looks like: titles and addresses come from strangers.

export function make(tag, { text, share, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  if (text !== undefined) element.textContent = text;
  if (share !== undefined) element.style.setProperty("--share", `${Math.max(0, Math.min(100, share))}%`);
  element.append(...children.filter(Boolean));
  return element;
}

/** Replaces what a place shows, and gives the focus back to whatever took its focused element's place. */
export function fill(place, ...children) {
  const focused = place.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  place.replaceChildren(...children.filter(Boolean));
  place.classList.remove("ghost");
  if (focused === undefined) return;
  for (const element of place.querySelectorAll("[data-key]")) {
    if (element.dataset.key === focused) element.focus({ preventScroll: true });
  }
}
