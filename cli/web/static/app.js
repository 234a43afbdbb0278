// Live search and keys. Every page works without this file.
"use strict";

const live = document.querySelector("form[data-live]");
if (live) {
  const target = live.dataset.live;
  let timer = 0;
  let newest = null;

  const address = () => {
    const given = new URLSearchParams();
    for (const [name, value] of new FormData(live)) if (value) given.append(name, value);
    const query = given.toString();
    return live.getAttribute("action") + (query ? `?${query}` : "");
  };

  const show = async () => {
    const wanted = address();
    if (newest) newest.abort();
    const request = (newest = new AbortController());
    const results = document.getElementById(target);
    results.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(wanted, { signal: request.signal });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const found = page.getElementById(target);
      if (!found) return location.assign(wanted);
      results.replaceWith(found);
      history.replaceState(null, "", wanted);
      const clear = live.querySelector(".clear");
      const newClear = page.querySelector("form[data-live] .clear");
      if (clear && !newClear) clear.remove();
      if (!clear && newClear) live.append(newClear);
    } catch (error) {
      if (error.name !== "AbortError") location.assign(wanted);
    }
  };

  live.addEventListener("input", (event) => {
    clearTimeout(timer);
    timer = setTimeout(show, event.target.type === "search" ? 180 : 0);
  });
  live.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    show();
  });
}

// What a page could not wait for (data-pending) is asked for again until it is there.
const again = async (id, left) => {
  const answer = await fetch(location.href);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const part = page.getElementById(id);
  if (!part) return;
  if (!part.hasAttribute("data-pending")) document.getElementById(id).replaceWith(part);
  else if (left) setTimeout(again, 700, id, left - 1);
};
for (const part of document.querySelectorAll("[data-pending]")) setTimeout(again, 400, part.id, 60);

// keys ------------------------------------------------------------------------------------------

const help = document.getElementById("keys");
const opener = document.querySelector("[data-keys]");
const keysOn = document.querySelector("[data-keys-on]");
const remembered = () => {
  try { return localStorage.getItem("drin-fs keys") !== "off"; } catch { return true; }
};
keysOn.checked = remembered();
keysOn.addEventListener("change", () => {
  try { localStorage.setItem("drin-fs keys", keysOn.checked ? "on" : "off"); } catch { /* this page only */ }
});
opener.hidden = false;
opener.addEventListener("click", () => help.showModal());

const items = () => [...document.querySelectorAll("main [data-item]")];
const move = (by) => {
  const all = items();
  if (!all.length) return;
  const here = all.indexOf(document.activeElement);
  const next = here < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(Math.max(here + by, 0), all.length - 1);
  all[next].focus();
};
const follow = (rel) => document.querySelector(`a[rel=${rel}]`)?.click();
const places = { o: "/", m: "/mentions", e: "/entities" };
const keys = {
  "/": () => document.querySelector("[data-search]")?.focus(),
  "?": () => help.showModal(),
  j: () => move(1),
  k: () => move(-1),
  n: () => follow("next"),
  p: () => follow("prev"),
};

let going = false;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || help.open || !keysOn.checked) return;
  if (event.target.matches("input:not([type=checkbox]), select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (going && places[event.key]) location.assign(places[event.key]);
  else if (event.key === "g") return void (going = true);
  else if (keys[event.key]) {
    event.preventDefault();
    keys[event.key]();
  }
  going = false;
});
