"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const picture = document.getElementById("picture");
const view = document.getElementById("view");
const panel = document.getElementById("details");
const search = document.getElementById("search");
const nodes = new Map([...picture.querySelectorAll(".node[data-node]")].map(e => [+e.dataset.node, e]));
const edges = [...picture.querySelectorAll(".edge[data-ends]")].map(e => ({ e, ends: e.dataset.ends.split(" ").map(Number) }));
const blocks = [...picture.querySelectorAll("[data-block]")];
document.querySelector("h1").textContent = document.title;

// What is seen: the upper left corner, and the number of picture units in a pixel of the screen.
const [width, height] = data.size;
let x = 0, y = 0, scale = 1;
const show = () => {
  const box = view.getBoundingClientRect();
  picture.setAttribute("viewBox", `${x} ${y} ${box.width * scale} ${box.height * scale}`);
};
const fit = () => {
  const box = view.getBoundingClientRect();
  scale = Math.max(width / box.width, height / box.height, 0.5);
  x = (width - box.width * scale) / 2;
  y = (height - box.height * scale) / 2;
  show();
};
const zoom = (factor, left, top) => {
  const box = view.getBoundingClientRect();
  const [dx, dy] = [left ?? box.width / 2, top ?? box.height / 2];
  const next = Math.min(Math.max(scale * factor, 0.1), 50);
  x += dx * (scale - next);
  y += dy * (scale - next);
  scale = next;
  show();
};
const centre = node => {
  const box = view.getBoundingClientRect();
  scale = Math.min(scale, 1);
  x = data.centres[node][0] - box.width * scale / 2;
  y = data.centres[node][1] - box.height * scale / 2;
  show();
};

// A finger or the mouse moves; two fingers zoom.
const pointers = new Map();
let moved = 0;
view.addEventListener("pointerdown", event => {
  pointers.set(event.pointerId, event);
  if (pointers.size === 1) moved = 0;
});
addEventListener("pointermove", event => {
  const last = pointers.get(event.pointerId);
  if (!last) return;
  const others = [...pointers.values()].filter(other => other.pointerId !== event.pointerId);
  if (others.length === 1) {
    const apart = one => Math.hypot(one.clientX - others[0].clientX, one.clientY - others[0].clientY);
    const box = view.getBoundingClientRect();
    zoom(apart(last) / Math.max(apart(event), 1), (event.clientX + others[0].clientX) / 2 - box.left, (event.clientY + others[0].clientY) / 2 - box.top);
  } else {
    x -= (event.clientX - last.clientX) * scale;
    y -= (event.clientY - last.clientY) * scale;
    show();
  }
  moved += Math.hypot(event.clientX - last.clientX, event.clientY - last.clientY);
  view.classList.toggle("moving", moved > 4);
  pointers.set(event.pointerId, event);
});
for (const name of ["pointerup", "pointercancel"]) {
  addEventListener(name, event => {
    pointers.delete(event.pointerId);
    view.classList.remove("moving");
  });
}
view.addEventListener("wheel", event => {
  event.preventDefault();
  const box = view.getBoundingClientRect();
  zoom(Math.exp(event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.clientX - box.left, event.clientY - box.top);
}, { passive: false });

// Neighbours of the node under the mouse.
const near = node => {
  const around = new Set([node]);
  for (const edge of data.edges) {
    const ends = edge.ends.map(end => end.node);
    if (ends.includes(node)) ends.forEach(end => around.add(end));
  }
  return around;
};
const dim = shown => {
  for (const [node, e] of nodes) e.classList.toggle("dim", !!shown && !shown.has(node));
  for (const { e, ends } of edges) e.classList.toggle("dim", !!shown && !ends.every(end => shown.has(end)));
};
for (const [node, e] of nodes) {
  e.addEventListener("pointerenter", () => {
    if (pointers.size || search.value) return;
    dim(near(node));
    for (const { e, ends } of edges) e.classList.toggle("near", ends.includes(node));
  });
  e.addEventListener("pointerleave", () => {
    if (!search.value) dim(null);
    for (const { e } of edges) e.classList.remove("near");
  });
}

// What is known of a node.
const add = (parent, name, text, type) => {
  const e = parent.appendChild(document.createElement(name));
  if (text !== undefined) e.textContent = text;
  if (type) e.className = type;
  return e;
};
const list = (title, items) => {
  if (!items.length) return;
  add(panel, "h3", title);
  const ul = add(panel, "ul");
  for (const item of items) ul.appendChild(item);
};
const line = text => {
  const li = document.createElement("li");
  li.textContent = text;
  return li;
};
const link = (edge, node) => {
  const here = edge.ends[0].node === node ? 0 : 1;
  const there = edge.ends[1 - here];
  const li = line(edge.ends[here].interface ? `${edge.ends[here].interface} ` : "");
  li.append("— ");
  const a = add(li, "a", data.nodes[there.node].id);
  a.addEventListener("click", () => { unfold(there.node); choose(there.node); centre(there.node); });
  const rest = [there.link && there.link !== data.nodes[there.node].id ? ` ${there.interface}` : "", ...there.addresses.map(address => ` ${address}`)];
  if (edge.label.length) rest.push(` (${edge.label.join(", ")})`);
  if (edge.condition && edge.condition !== "same") rest.push(` ${edge.condition}`);
  if (edge.is_idle) rest.push(", no carrier");
  li.append(rest.join(""));
  return li;
};
const choose = chosen => {
  for (const [node, e] of nodes) e.classList.toggle("chosen", node === chosen);
  panel.replaceChildren();
  panel.hidden = chosen === null;
  if (chosen === null) return;
  const node = data.nodes[chosen];
  add(panel, "button", "Close", "close").addEventListener("click", () => choose(null));
  add(panel, "h2", node.kind === "change" ? node.title : node.id);
  const kind = node.kind === "segment" ? "connects others" : node.kind;
  add(panel, "p", [kind, node.condition, node.is_idle && "no carrier"].filter(Boolean).join(", "));
  list("Contents", node.details ? [] : node.lines.map(line));
  list(node.kind === "change" ? "Reason" : "Changes", node.changes.map(line));
  const own = data.edges.filter(edge => edge.ends.some(end => end.node === chosen));
  if (node.kind === "change") {
    list("Needs", own.filter(edge => edge.ends[0].node === chosen).map(edge => link(edge, chosen)));
    list("Needed by", own.filter(edge => edge.ends[1].node === chosen).map(edge => link(edge, chosen)));
  } else {
    list("Links", own.map(edge => link(edge, chosen)));
  }
  if (node.details) {
    add(panel, "h3", "Lab file");
    add(panel, "pre", node.details);
  }
  const place = nodes.get(chosen).getBoundingClientRect();
  const box = view.getBoundingClientRect();
  if (place.right > box.right || place.bottom > box.bottom) centre(chosen);
};
view.addEventListener("click", event => {
  if (moved > 4) return;
  const badge = event.target.closest(".badge");
  if (badge) return fold(badge.dataset.block, false);
  const node = event.target.closest(".node[data-node]");
  choose(node ? +node.dataset.node : null);
});
view.addEventListener("dblclick", event => {
  const block = event.target.closest("g[data-block]");
  if (block) fold(block.dataset.block, true);
});

// Where the edges of a node end: at the box around all that is folded into it, or at its own when that is hidden.
const boxOf = node => {
  const own = data.boxes[node];
  const block = data.blocks.find(block => block.head === node);
  return block && !block.hidden ? block.box : own;
};
const draw = ({ e, ends }) => {
  const [from, to] = ends.map(boxOf);
  const way = [to[0] - from[0], to[1] - from[1]];
  const length = Math.hypot(...way);
  if (length < 1) return;
  const unit = way.map(part => part / length);
  const shift = +e.dataset.shift * (ends[0] < ends[1] ? 1 : -1);
  const offset = [-unit[1] * shift, unit[0] * shift];
  const inside = (box, sign) => Math.max(0, Math.min(...[0, 1].map(axis =>
    Math.abs(unit[axis]) < 1e-6 ? Infinity : (box[2 + axis] / 2 - Math.sign(unit[axis]) * sign * offset[axis]) / Math.abs(unit[axis]))));
  const at = distance => [0, 1].map(axis => (from[axis] + offset[axis] + unit[axis] * distance).toFixed(1)).join(" ");
  e.querySelector("path").setAttribute("d", `M${at(Math.min(inside(from, 1), length))} ${at(Math.max(length - inside(to, -1), 0))}`);
};

// Nodes with one link can be hidden.
const fold = (block, hide) => {
  for (const e of blocks) {
    if (block !== null && e.dataset.block !== block) continue;
    if (e.classList.contains("badge")) e.classList.toggle("shown", hide);
    else e.classList.toggle("away", hide);
  }
  for (const one of data.blocks) if (block === null || String(one.block) === block) one.hidden = hide;
  for (const edge of edges) draw(edge);
};
const unfold = node => {
  const block = nodes.get(node)?.dataset.block;
  if (block !== undefined) fold(block, false);
};
const foldAll = () => fold(null, !picture.querySelector(".away"));
document.getElementById("fold").hidden = !blocks.length;

// Search.
const find = () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = node => [node.id, node.title, ...node.lines, node.details].join(" ").toLowerCase();
  const found = data.nodes.flatMap((node, position) => words.length && words.every(word => text(node).includes(word)) ? [position] : []);
  const saying = edge => [...edge.ends.flatMap(end => [end.link, ...end.addresses]), ...edge.label].join(" ").toLowerCase();
  const lines = data.edges.filter(edge => words.length && words.every(word => saying(edge).includes(word)));
  for (const [node, e] of nodes) e.classList.toggle("found", found.includes(node));
  dim(words.length ? new Set([...found, ...lines.flatMap(edge => edge.ends.map(end => end.node))]) : null);
  document.getElementById("found").textContent = words.length ? String(found.length) : "";
  found.forEach(unfold);
  return found;
};
search.addEventListener("input", find);
let at = -1;
search.addEventListener("keydown", event => {
  if (event.key === "Enter") {
    const found = find();
    if (!found.length) return;
    at = (at + 1) % found.length;
    choose(found[at]);
    centre(found[at]);
  } else if (event.key === "Escape") {
    search.value = "";
    at = -1;
    find();
    search.blur();
  } else {
    at = -1;
  }
});

// Light and dark; the system's at first.
const theme = () => {
  const isDark = document.documentElement.classList.contains("dark")
    || !document.documentElement.classList.contains("light") && matchMedia("(prefers-color-scheme: dark)").matches;
  for (const e of [document.documentElement, picture]) {
    e.classList.toggle("dark", !isDark);
    e.classList.toggle("light", isDark);
  }
};
const keys = { "+": () => zoom(1 / 1.3), "=": () => zoom(1 / 1.3), "-": () => zoom(1.3), 0: fit, f: foldAll, d: theme, "/": () => search.focus(), Escape: () => choose(null) };
addEventListener("keydown", event => {
  if (event.target === search || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
});
document.getElementById("in").addEventListener("click", keys["+"]);
document.getElementById("out").addEventListener("click", keys["-"]);
document.getElementById("fit").addEventListener("click", fit);
document.getElementById("fold").addEventListener("click", foldAll);
document.getElementById("theme").addEventListener("click", theme);
new ResizeObserver(() => show()).observe(view);
fit();
