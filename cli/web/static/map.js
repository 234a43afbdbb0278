// Hover, click and arrow keys on the map. Without this file it is a drawing with a list below.
"use strict";

const figure = document.querySelector("[data-map]");
const drawing = figure.querySelector("svg");
const says = figure.querySelector("[data-map-status]");
const kinds = { mention: "mention", wrong: "wrong mention", entity: "entity" };
const reach = 18; // pixels from a point within which it is meant

fetch(figure.dataset.map).then((answer) => answer.json()).then(({ width, points }) => {
  const svg = "http://www.w3.org/2000/svg";
  const ring = document.createElementNS(svg, "circle");
  ring.setAttribute("class", "ring");
  ring.setAttribute("r", "9");
  ring.setAttribute("visibility", "hidden");
  drawing.append(ring);
  figure.classList.add("live");
  drawing.setAttribute("tabindex", "0");
  drawing.setAttribute("aria-label", `${drawing.getAttribute("aria-label")}. Arrow keys move, Enter opens.`);
  let chosen = null;

  const place = (event) => {
    const frame = drawing.getBoundingClientRect();
    const scale = width / frame.width;
    return [(event.clientX - frame.left) * scale, (event.clientY - frame.top) * scale, reach * scale];
  };
  const nearest = (x, y, most, allowed = () => true) => {
    let best = null;
    let least = most * most;
    for (const point of points) {
      const far = (point[0] - x) ** 2 + (point[1] - y) ** 2;
      if (far < least && allowed(point)) [best, least] = [point, far];
    }
    return best;
  };
  const choose = (point) => {
    if (point === chosen) return;
    chosen = point;
    ring.setAttribute("visibility", point ? "visible" : "hidden");
    drawing.style.cursor = point ? "pointer" : "";
    says.textContent = "";
    if (!point) return;
    ring.setAttribute("cx", point[0]);
    ring.setAttribute("cy", point[1]);
    const link = document.createElement("a");
    link.href = point[4];
    const words = document.createElement("bdi");
    words.textContent = point[3];
    link.append(words);
    says.append(link, ` · ${kinds[point[2]]}`);
  };
  const open = () => chosen && location.assign(chosen[4]);
  const ways = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };

  drawing.addEventListener("pointermove", (event) => choose(nearest(...place(event))));
  drawing.addEventListener("click", (event) => {
    choose(nearest(...place(event)));
    open();
  });
  drawing.addEventListener("keydown", (event) => {
    if (event.key === "Enter") return open();
    const way = ways[event.key];
    if (!way) return;
    event.preventDefault();
    const [x, y] = chosen ?? [width / 2, width / 3];
    const ahead = ([px, py]) => {
      const along = (px - x) * way[0] + (py - y) * way[1];
      const aside = Math.abs((px - x) * way[1]) + Math.abs((py - y) * way[0]);
      return along > 0.5 && along >= aside;
    };
    choose(nearest(x, y, Infinity, ahead) ?? chosen);
  });
});
