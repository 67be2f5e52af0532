"use strict";
// Zoom and search. Names are read from the picture and written as text, never as markup.
(() => {
  const svg = document.documentElement;
  const told = document.getElementById("told");
  const MARGIN = 12;
  const frames = [...document.querySelectorAll("#frames > g")].map((group) => {
    const [start, weight, depth] = group.dataset.at.split(" ").map(Number);
    const words = group.querySelector("title").textContent;
    const end = words.lastIndexOf("\n");
    return { group, start, weight, depth, name: words.slice(0, end), value: words.slice(end + 1), box: group.querySelector("rect"), label: group.querySelector("text") };
  });
  if (frames.length === 0) return;
  let focus = 0;
  let hits = "";

  // The bar at the top right is HTML, for a field to write in.
  const XHTML = "http://www.w3.org/1999/xhtml";
  const make = (name, attributes, text) => {
    const node = document.createElementNS(XHTML, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.textContent = text;
    return node;
  };
  const foreign = document.createElementNS("http://www.w3.org/2000/svg", "foreignObject");
  const bar = make("div", { class: "bar" }, "");
  const found = make("span", { id: "found", role: "status" }, "");
  const reset = make("button", { type: "button", id: "reset", hidden: "" }, "Reset zoom");
  const field = make("input", { type: "search", id: "search", placeholder: "Search (Ctrl-F)", "aria-label": "Search" }, "");
  bar.append(found, reset, field);
  foreign.append(bar);
  foreign.setAttribute("y", "10");
  foreign.setAttribute("height", "34");
  svg.append(foreign);

  const measure = () => {
    const label = frames[0].label;
    label.textContent = "m".repeat(20);
    const width = label.getComputedTextLength() / 20;
    return width > 0 ? width : 7.25;
  };
  const character = measure();

  const draw = () => {
    const width = Math.max(320, document.documentElement.clientWidth || window.innerWidth);
    const height = svg.getAttribute("height");
    svg.setAttribute("width", width);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const bar = Math.min(640, width * 0.6);
    foreign.setAttribute("x", width - MARGIN - bar);
    foreign.setAttribute("width", bar);
    const middle = frames[focus];
    // Frames stand in order, each before those it called: those within the focus follow it.
    let last = focus + 1;
    while (last < frames.length && frames[last].depth > middle.depth) last += 1;
    const around = new Set();
    for (let at = focus - 1, depth = middle.depth; at >= 0; at -= 1) {
      if (frames[at].depth < depth) { around.add(at); depth = frames[at].depth; }
    }
    const scale = (width - 2 * MARGIN) / (middle.weight || 1);
    frames.forEach((frame, at) => {
      const isAround = around.has(at);
      const left = isAround ? 0 : Math.max(0, (frame.start - middle.start) * scale);
      const wide = isAround ? width - 2 * MARGIN : frame.weight * scale;
      const shown = isAround || (at >= focus && at < last && wide >= 0.3);
      if (!shown) { frame.group.setAttribute("display", "none"); return; }
      frame.group.removeAttribute("display");
      frame.group.classList.toggle("around", isAround);
      frame.box.setAttribute("x", MARGIN + left);
      frame.box.setAttribute("width", Math.max(0.3, wide - 0.6));
      frame.label.setAttribute("x", MARGIN + left + 4);
      const room = Math.floor((wide - 8) / character);
      const name = [...frame.name];
      frame.label.textContent = name.length <= room ? frame.name : room < 3 ? "" : name.slice(0, room - 1).join("") + "…";
    });
    reset.hidden = focus === 0;
  };

  const zoom = (at) => { focus = at; draw(); };

  const search = () => {
    hits = field.value.trim().toLowerCase();
    let [weight, count, within] = [0, 0, -1];
    for (const frame of frames) {
      // What a hit called is counted with it.
      if (within >= 0 && frame.depth <= within) within = -1;
      const hit = hits !== "" && frame.name.toLowerCase().includes(hits);
      frame.group.classList.toggle("hit", hit);
      if (!hit) continue;
      count += 1;
      if (within < 0) { weight += frame.weight; within = frame.depth; }
    }
    const share = ((weight / (frames[0].weight || 1)) * 100).toFixed(1);
    found.textContent = hits === "" ? "" : `${share} % in ${count} ${count === 1 ? "frame" : "frames"}`;
  };

  frames.forEach((frame, at) => {
    frame.group.addEventListener("click", () => zoom(at));
    frame.group.addEventListener("pointerenter", () => { told.textContent = `${frame.name}: ${frame.value}`; });
    frame.group.addEventListener("pointerleave", () => { told.textContent = ""; });
  });
  reset.addEventListener("click", () => zoom(0));
  field.addEventListener("input", search);
  addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "f") {
      event.preventDefault();
      field.focus();
      field.select();
    } else if (event.key === "Escape") {
      if (field.value !== "") { field.value = ""; search(); } else { zoom(0); }
    }
  });
  addEventListener("resize", draw);
  draw();
  svg.setAttribute("data-ready", "");
})();
