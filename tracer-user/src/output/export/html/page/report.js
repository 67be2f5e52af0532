"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const text = (i) => data.strings[i] ?? "";
  const STATES = ["running", "runnable", "waiting", "syscall", "other"];
  const el = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  };

  // Long names break where they have joints.
  const jointed = (name) => name.split(/(?<=[./)])(?=[^.])/).flatMap((part, i) => (i > 0 ? [el("wbr"), part] : [part]));

  // Words for numbers.
  const number = (n) => Math.round(n).toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");
  const length = (ms) => {
    if (ms < 0.001) return `${Math.round(ms * 1e6)} ns`;
    if (ms < 1) return `${+(ms * 1000).toPrecision(3)} µs`;
    if (ms < 1000) return `${+ms.toPrecision(3)} ms`;
    if (ms < 60000) return `${+(ms / 1000).toPrecision(3)} s`;
    const s = Math.round(ms / 1000);
    if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
    return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  };
  const bytes = (n) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let i = 0;
    while (n >= 1024 && i < units.length - 1) { n /= 1024; i += 1; }
    return `${n >= 10 || i === 0 ? Math.round(n) : n.toFixed(1)} ${units[i]}`;
  };
  const clock = (ms, digits = 0) => {
    const at = new Date(data.wall_ms + data.offset_ms + ms);
    const part = at.toISOString();
    return digits > 0 ? part.slice(11, 20 + digits) : part.slice(11, 19);
  };

  // Light, dark, or as the system has it.
  const root = document.documentElement;
  const theme = $("theme");
  const remember = (value) => { try { localStorage.setItem("loiter-theme", value); } catch { /* a page from disk may have no store */ } };
  const recall = () => { try { return localStorage.getItem("loiter-theme") ?? "auto"; } catch { return "auto"; } };
  const setTheme = (value) => {
    if (value === "auto") root.removeAttribute("data-theme"); else root.setAttribute("data-theme", value);
    theme.value = value;
    redraw();
    requestAnimationFrame(() => drawFlame());
  };
  const probe = el("span", { hidden: "" });
  document.body.append(probe);
  const color = (name) => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };
  let colors = {};

  // The time that is shown, shared by all charts.
  const range = { from: 0, until: data.span };
  const MIN_SPAN = Math.max(data.span / 1e6, 0.0005);
  const show = (from, until) => {
    const span = Math.min(Math.max(until - from, MIN_SPAN), data.span);
    const start = Math.min(Math.max(from, 0), data.span - span);
    range.from = start;
    range.until = start + span;
    redraw();
  };
  const zoom = (factor, around = (range.from + range.until) / 2) =>
    show(around - (around - range.from) * factor, around + (range.until - around) * factor);
  const pan = (part) => {
    const by = (range.until - range.from) * part;
    show(range.from + by, range.until + by);
  };
  const x = (t, width) => ((t - range.from) / (range.until - range.from)) * width;
  const timeAt = (px, width) => range.from + (px / width) * (range.until - range.from);

  const drawings = [];
  let waiting = false;
  const redraw = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      for (const name of [...STATES, "line", "faint", "text", "panel", "accent", "certain", "likely", "suspect", "good"]) colors[name] = color(name);
      const span = range.until - range.from;
      const digits = span < 10 ? 6 : span < 10000 ? 3 : 0;
      $("range").textContent = `${clock(range.from, digits)} to ${clock(range.until, digits)} ${data.zone}, ${length(span)}`;
      for (const draw of drawings) draw();
    });
  };
  const pen = (canvas, height) => {
    const width = canvas.clientWidth;
    const scale = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
      canvas.style.height = `${height}px`;
    }
    const ctx = canvas.getContext("2d");
    ctx.setTransform(scale, 0, 0, scale, 0, 0);
    ctx.clearRect(0, 0, width, height);
    ctx.font = "11px system-ui, sans-serif";
    return [ctx, width];
  };

  // What lies under the mouse.
  const tip = $("tip");
  const showTip = (event, lines) => {
    if (!lines) { tip.hidden = true; return; }
    const [first, ...rest] = lines;
    tip.replaceChildren(el("b", {}, first), ...rest.filter(Boolean).map((line) => el("div", {}, line)));
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8))}px`;
    tip.style.top = `${event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 10 : event.clientY + 18}px`;
  };

  // Zoom with the wheel (and Ctrl, so that the page still scrolls), pan by dragging, both with keys.
  const navigable = (canvas, describe) => {
    let grip = null;
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.shiftKey) return;
      event.preventDefault();
      if (event.shiftKey) { pan((event.deltaY || event.deltaX) / 800); return; }
      zoom(Math.exp(event.deltaY / 300), timeAt(event.offsetX, canvas.clientWidth));
    }, { passive: false });
    canvas.addEventListener("dblclick", (event) => zoom(0.33, timeAt(event.offsetX, canvas.clientWidth)));
    canvas.addEventListener("pointerdown", (event) => { grip = { x: event.clientX, from: range.from, until: range.until }; canvas.setPointerCapture(event.pointerId); });
    canvas.addEventListener("pointerup", () => { grip = null; });
    canvas.addEventListener("pointermove", (event) => {
      if (grip) {
        const by = ((grip.x - event.clientX) / canvas.clientWidth) * (grip.until - grip.from);
        show(grip.from + by, grip.until + by);
        showTip(event, null);
      } else {
        showTip(event, describe(event.offsetX, event.offsetY));
      }
    });
    canvas.addEventListener("pointerleave", (event) => showTip(event, null));
  };
  const keys = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing) { event.preventDefault(); $("search").focus(); return; }
    if (typing) return;
    const inCharts = event.target === document.body || event.target.closest("#timeline, #overtime");
    if (!inCharts) return;
    const actions = { "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), "0": () => show(0, data.span), ArrowLeft: () => pan(-0.2), ArrowRight: () => pan(0.2) };
    const action = actions[event.key];
    if (action && !event.defaultPrevented) { event.preventDefault(); action(); }
  };

  // Ticks at round times.
  const ticks = (width) => {
    const span = range.until - range.from;
    const steps = [];
    for (let unit = 0.001; unit < 1000; unit *= 10) steps.push(unit, unit * 2, unit * 5);
    steps.push(1000, 2000, 5000, 10000, 15000, 30000, 60000, 120000, 300000, 600000, 1800000, 3600000, 7200000, 21600000, 43200000, 86400000);
    const step = steps.find((s) => (s / span) * width >= 90) ?? 86400000 * Math.ceil(span / 86400000 / 8);
    const shift = (data.wall_ms + data.offset_ms) % step;
    const all = [];
    for (let t = Math.ceil((range.from + shift) / step) * step - shift; t <= range.until; t += step) all.push(t);
    return [all, step < 0.01 ? 6 : step < 1000 ? 3 : 0];
  };
  const drawTicks = (ctx, width, height, labels) => {
    const [all, digits] = ticks(width);
    ctx.fillStyle = colors.faint;
    ctx.strokeStyle = colors.line;
    ctx.textBaseline = "bottom";
    ctx.textAlign = "left";
    for (const t of all) {
      const at = Math.round(x(t, width)) + 0.5;
      ctx.beginPath(); ctx.moveTo(at, 0); ctx.lineTo(at, labels ? height - 3 : height); ctx.stroke();
      if (labels && at + 4 + ctx.measureText(clock(t, digits)).width < width) ctx.fillText(clock(t, digits), at + 4, height - 2);
    }
  };

  // How many goroutines were in each state.
  const counts = data.counts;
  const overtime = $("counts");
  const PLOT = 150;
  const AXIS = 18;
  const drawCounts = () => {
    const [ctx, width] = pen(overtime, PLOT + AXIS);
    drawTicks(ctx, width, PLOT + AXIS, true);
    const { t, states } = counts;
    let top = 1;
    t.forEach((at, i) => {
      const next = t[i + 1] ?? data.span;
      if (next < range.from || at > range.until) return;
      top = Math.max(top, states.reduce((sum, s) => sum + s[i], 0));
    });
    const y = (n) => PLOT - (n / top) * (PLOT - 16);
    const below = t.map(() => 0);
    STATES.forEach((state, s) => {
      ctx.fillStyle = colors[state];
      ctx.beginPath();
      const upper = t.map((_, i) => below[i] + states[s][i]);
      const edge = (values, back) => {
        const order = back ? [...t.keys()].reverse() : [...t.keys()];
        for (const i of order) {
          const a = x(t[i], width);
          const b = x(t[i + 1] ?? data.span, width);
          if (back) { ctx.lineTo(b, y(values[i])); ctx.lineTo(a, y(values[i])); } else { ctx.lineTo(a, y(values[i])); ctx.lineTo(b, y(values[i])); }
        }
      };
      edge(upper, false);
      edge(below, true);
      ctx.fill();
      upper.forEach((value, i) => { below[i] = value; });
    });
    if (counts.rss.some((n) => n > 0)) {
      const most = Math.max(...counts.rss);
      ctx.strokeStyle = colors.text;
      ctx.setLineDash([4, 3]);
      ctx.beginPath();
      t.forEach((at, i) => { if (counts.rss[i] > 0) ctx.lineTo(x(at, width), PLOT - (counts.rss[i] / most) * (PLOT - 30)); });
      ctx.stroke();
      ctx.setLineDash([]);
      ctx.fillStyle = colors.faint;
      ctx.textBaseline = "bottom";
      ctx.textAlign = "left";
      ctx.fillText(`resident memory, at most ${bytes(most)}`, 6, 26);
    }
    ctx.fillStyle = colors.certain;
    for (const [since, until] of data.losses) ctx.fillRect(x(since, width), PLOT - 4, Math.max(2, x(until, width) - x(since, width)), 4);
    ctx.textBaseline = "top";
    for (const mark of data.marks) {
      const at = Math.round(x(mark.t, width)) + 0.5;
      if (at < 0 || at > width) continue;
      ctx.strokeStyle = ctx.fillStyle = mark.change === "resolved" ? colors.good : colors[mark.confidence];
      ctx.beginPath(); ctx.moveTo(at, 0); ctx.lineTo(at, PLOT); ctx.stroke();
      ctx.beginPath(); ctx.moveTo(at - 4, 0); ctx.lineTo(at + 4, 0); ctx.lineTo(at, 7); ctx.fill();
    }
    ctx.fillStyle = colors.faint;
    ctx.textAlign = "right";
    ctx.fillText(`${number(top)} ${data.noun}s`, width - 4, 2);
  };
  const describeCounts = (px) => {
    const at = timeAt(px, overtime.clientWidth);
    const near = data.marks.filter((m) => Math.abs(x(m.t, overtime.clientWidth) - px) < 5);
    let i = counts.t.findIndex((t) => t > at);
    i = (i < 0 ? counts.t.length : i) - 1;
    const lines = [clock(at, 3)];
    if (i >= 0) {
      const shown = STATES.map((state, s) => [state, counts.states[s][i]]).filter(([, n]) => n > 0);
      lines.push(shown.map(([state, n]) => `${number(n)} ${state}`).join(", ") || `no ${data.noun}s`);
      if (counts.rss[i] > 0) lines.push(`resident memory ${bytes(counts.rss[i])}`);
    }
    for (const mark of near) lines.push(`${mark.kind} ${mark.change}, ${mark.confidence}: ${number(mark.count)} ${data.noun}s`);
    for (const [since, until, n, kind] of data.losses) if (at >= since && at <= until) lines.push(`${number(n)} records lost (${kind})`);
    return lines;
  };

  // The timeline: a strip for each spawn site, and its goroutines when it is unfolded.
  const ROW = 16;
  const STRIP = 34;
  const drawStrip = (canvas, site) => {
    const [ctx, width] = pen(canvas, STRIP);
    drawTicks(ctx, width, STRIP, false);
    const n = data.buckets;
    const size = data.span / n;
    const first = Math.max(0, Math.floor(range.from / size));
    const last = Math.min(n - 1, Math.ceil(range.until / size));
    let top = 0.01;
    const at = (s, i) => site.strip[s]?.[i] ?? 0;
    for (let i = first; i <= last; i += 1) top = Math.max(top, STATES.reduce((sum, _, s) => sum + at(s, i), 0));
    for (let i = first; i <= last; i += 1) {
      let y = STRIP;
      // Whole pixels: between two halves of one, a line would show.
      const left = Math.round(x(i * size, width));
      const right = Math.max(left + 1, Math.round(x((i + 1) * size, width)));
      STATES.forEach((state, s) => {
        const h = (at(s, i) / top) * (STRIP - 3);
        if (h <= 0) return;
        y -= h;
        ctx.fillStyle = colors[state];
        ctx.fillRect(left, y, right - left, h);
      });
    }
    ctx.fillStyle = colors.text;
    ctx.textAlign = "right";
    ctx.textBaseline = "top";
    const label = `${top >= 10 ? number(top) : +top.toFixed(1)}`;
    const room = ctx.measureText(label).width;
    ctx.save();
    ctx.globalAlpha = 0.75;
    ctx.fillStyle = colors.panel;
    ctx.fillRect(width - room - 8, 0, room + 8, 14);
    ctx.restore();
    ctx.fillStyle = colors.faint;
    ctx.fillText(label, width - 4, 2);
  };
  const visible = (slices) => {
    let low = 0;
    let high = slices.length;
    while (low < high) { const mid = (low + high) >> 1; if (slices[mid][0] + slices[mid][1] < range.from) low = mid + 1; else high = mid; }
    return low;
  };
  const drawTasks = (canvas, site, picked) => {
    const [ctx, width] = pen(canvas, site.tasks.length * ROW);
    drawTicks(ctx, width, site.tasks.length * ROW, false);
    site.tasks.forEach((task, row) => {
      const y = row * ROW + 2;
      for (let i = visible(task.slices); i < task.slices.length; i += 1) {
        const [since, lasted, state, , , flags] = task.slices[i];
        if (since > range.until) break;
        const left = Math.max(-2, x(since, width));
        const w = Math.max(1.2, Math.min(width + 2, x(since + lasted, width)) - left);
        ctx.fillStyle = colors[STATES[state]];
        ctx.fillRect(left, y, w, ROW - 4);
        if (flags & 4 && w > 3) { ctx.clearRect(left, y + 3, w, 2); ctx.clearRect(left, y + 7, w, 2); }
        if (w > 46 && state === 2) {
          ctx.save();
          ctx.beginPath(); ctx.rect(left, y, w - 3, ROW - 4); ctx.clip();
          ctx.fillStyle = colors.text;
          ctx.textBaseline = "middle";
          ctx.textAlign = "left";
          ctx.fillText(text(task.slices[i][3]), Math.max(left, 0) + 4, y + ROW / 2 - 2);
          ctx.restore();
        }
        if (picked && picked.row === row && picked.slice === i) { ctx.strokeStyle = colors.accent; ctx.lineWidth = 2; ctx.strokeRect(left, y - 1, w, ROW - 2); ctx.lineWidth = 1; }
      }
    });
  };
  const describeSlice = (task, i) => {
    const slice = task.slices[i];
    if (!slice) return [`${data.noun} ${task.id}`];
    const [since, lasted, state, reason, site, flags, many] = slice;
    const what = flags & 4 ? `${number(many)} short stretches, mostly ${STATES[state]}` : text(reason) && state === 2 ? `waiting: ${text(reason)}` : state === 4 ? text(reason) : STATES[state];
    const began = flags & 1 ? "" : "then or earlier, ";
    const end = flags & 2 ? ", still so at the end" : flags & 8 ? "; what came then is not known" : "";
    return [`${data.noun} ${task.id}: ${what}`, `for ${flags & 1 ? "" : "at least "}${length(lasted)}, from ${began}${clock(since, 3)}${end}`, site ? `at ${text(site)}` : ""];
  };
  const siteRow = (site, index) => {
    const strip = el("canvas", { role: "img", "aria-label": `${data.noun}s by state over time, created at ${text(site.name)}` });
    const note = `${text(site.place)}${site.named ? " · has a finding" : ""}`;
    const button = el("button", { "aria-expanded": "false", type: "button" }, ...jointed(text(site.name)), el("small", {}, note));
    const row = el("div", { class: "row" }, button, strip);
    const canvas = el("canvas", { tabindex: "0", role: "img", "aria-label": `a row for each ${data.noun}; the arrow keys go from stretch to stretch` });
    const ids = el("div", { class: "ids" }, ...site.tasks.map((t) => el("div", t.named ? { class: "named", title: "named by a finding" } : {}, `${t.named ? "● " : ""}${t.id}`)));
    const tasks = el("div", { class: "tasks", hidden: "" }, ids, canvas);
    row.append(tasks);
    let picked = null;
    const unfold = (open) => { button.setAttribute("aria-expanded", open); tasks.hidden = !open; redraw(); };
    button.addEventListener("click", () => unfold(tasks.hidden));
    const taskAt = (px, py) => {
      const task = site.tasks[Math.floor(py / ROW)];
      if (!task) return null;
      const width = canvas.clientWidth;
      const [a, b] = [timeAt(px - 2, width), timeAt(px + 2, width)];
      const i = task.slices.findIndex(([since, lasted]) => since <= b && since + lasted >= a);
      return [task, i];
    };
    navigable(strip, (px) => {
      const at = timeAt(px, strip.clientWidth);
      const i = Math.min(data.buckets - 1, Math.max(0, Math.floor((at / data.span) * data.buckets)));
      const shown = STATES.map((state, s) => [state, site.strip[s]?.[i] ?? 0]).filter(([, n]) => n >= 0.005);
      return [text(site.name), clock(at, 3), shown.map(([state, n]) => `${n >= 10 ? number(n) : +n.toFixed(2)} ${state}`).join(", ") || "none"];
    });
    navigable(canvas, (px, py) => { const hit = taskAt(px, py); return hit && describeSlice(...hit); });
    canvas.addEventListener("click", (event) => {
      const hit = taskAt(event.offsetX, event.offsetY);
      if (hit && hit[1] >= 0) pick(site.tasks.indexOf(hit[0]), hit[1]);
    });
    const pick = (r, s) => {
      picked = { row: r, slice: s };
      const task = site.tasks[r];
      $("picked").textContent = describeSlice(task, s).filter(Boolean).join(" · ");
      const slice = task.slices[s];
      if (slice && (slice[0] > range.until || slice[0] + slice[1] < range.from)) {
        const half = (range.until - range.from) / 2;
        show(slice[0] - half, slice[0] + half);
      }
      redraw();
    };
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const now = picked ?? { row: 0, slice: -1 };
      const near = (r) => { const t = site.tasks[r]; return Math.min(visible(t.slices), t.slices.length - 1); };
      const moves = {
        ArrowRight: () => [now.row, Math.min(now.slice + 1, site.tasks[now.row].slices.length - 1)],
        ArrowLeft: () => [now.row, Math.max(now.slice - 1, 0)],
        ArrowDown: () => { const r = Math.min(now.row + 1, site.tasks.length - 1); return [r, near(r)]; },
        ArrowUp: () => { const r = Math.max(now.row - 1, 0); return [r, near(r)]; },
      };
      const move = moves[event.key];
      if (!move || site.tasks.length === 0) return;
      event.preventDefault();
      pick(...move());
    });
    drawings.push(() => {
      if (row.hidden) return;
      drawStrip(strip, site);
      if (!tasks.hidden) drawTasks(canvas, site, picked);
    });
    const words = `${text(site.name)} ${text(site.place)} ${site.tasks.map((t) => t.id).join(" ")}`.toLowerCase();
    return { row, unfold, words, index };
  };

  const axis = $("axis");
  const drawAxis = () => { const [ctx, width] = pen(axis, AXIS); drawTicks(ctx, width, AXIS, true); };

  // What the runtime did for itself.
  const phases = $("phases");
  const drawPhases = () => {
    const [ctx, width] = pen(phases, STRIP);
    drawTicks(ctx, width, STRIP, false);
    ctx.fillStyle = colors.syscall;
    for (const [since, until] of data.phases) {
      const left = x(since, width);
      const w = Math.max(1.5, x(until, width) - left);
      if (left > width || left + w < 0) continue;
      ctx.fillRect(left, 8, w, STRIP - 16);
    }
  };
  const describePhase = (px) => {
    const width = phases.clientWidth;
    const hits = data.phases.filter(([a, b]) => x(a, width) <= px + 3 && x(b, width) >= px - 3).slice(0, 6);
    if (hits.length === 0) return [clock(timeAt(px, width), 3), "the runtime did nothing for itself that was seen"];
    return ["The runtime at work", ...hits.map(([a, b, name]) => `${text(name)} for ${length(b - a)} at ${clock(a, 3)}`)];
  };

  // The flame graph, outermost function on top.
  const flame = $("flame");
  let metric = 1;
  let focus = null;
  let query = "";
  const hue = (name) => { let h = 7; for (const c of name) h = (h * 31 + c.codePointAt(0)) % 997; return h; };
  const drawFlame = () => {
    const width = flame.clientWidth;
    if (width === 0) return;
    const path = focus ?? [data.flame];
    const nodes = [];
    let depth = 0;
    const total = data.flame[metric] || 1;
    const place = (node, level, left, w, trail) => {
      if (w < 1.5 || node[metric] <= 0) return;
      nodes.push([node, level, left, w, trail]);
      depth = Math.max(depth, level);
      let at = left;
      for (const child of node[3] ?? []) {
        const wide = (child[metric] / node[metric]) * w;
        place(child, level + 1, at, wide, [...trail, child]);
        at += wide;
      }
    };
    path.slice(0, -1).forEach((node, level) => nodes.push([node, level, 0, width, path.slice(0, level + 1)]));
    place(path[path.length - 1], path.length - 1, 0, width, path);
    depth = Math.max(depth, path.length - 1);
    const dark = getComputedStyle(root).colorScheme === "dark" || (getComputedStyle(root).colorScheme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
    flame.replaceChildren(...nodes.map(([node, level, left, w, trail]) => {
      const name = text(node[0]);
      const share = `${((node[metric] / total) * 100).toFixed(1)} %`;
      const value = metric === 1 ? `${number(node[1])} ${data.noun}s` : `${length(node[2])} waited`;
      const button = el("button", { type: "button", "aria-label": `${name}, ${value}, ${share}` }, w > 30 ? name : "");
      const h = hue(name);
      const reason = name.startsWith("[");
      if (reason) button.classList.add("reason");
      const shade = reason ? `hsl(${28 + (h % 18)} ${dark ? "45% 34%" : "75% 80%"})` : `hsl(${203 + (h % 22)} ${dark ? `${30 + (h % 18)}% ${27 + (h % 9)}%` : `${48 + (h % 22)}% ${76 + (h % 9)}%`})`;
      button.style.background = shade;
      button.style.left = `${left}px`;
      button.style.width = `${Math.max(1, w - 1)}px`;
      button.style.top = `${level * 20}px`;
      if (query && name.toLowerCase().includes(query)) button.classList.add("hit");
      button.addEventListener("click", () => { focus = trail.length > 1 ? trail : null; $("unzoom").hidden = !focus; drawFlame(); });
      button.addEventListener("pointermove", (event) => showTip(event, [name, `${value}, ${share}`]));
      button.addEventListener("pointerleave", (event) => showTip(event, null));
      return button;
    }));
    flame.style.height = `${(depth + 1) * 20}px`;
  };

  // Search: findings, sites, groups and functions.
  const sites = data.sites.map(siteRow);
  $("rows").append(...sites.map((s) => s.row));
  const plain = [...document.querySelectorAll("[data-search]")].map((node) => [node, node.textContent.toLowerCase()]);
  const search = () => {
    query = $("search").value.trim().toLowerCase();
    let found = 0;
    for (const [node, words] of plain) {
      const hit = words.includes(query);
      node.hidden = !hit;
      if (hit && query) found += 1;
    }
    for (const site of sites) {
      const hit = site.words.includes(query);
      site.row.hidden = !hit;
      if (hit && query) found += 1;
    }
    drawFlame();
    const frames = query ? flame.querySelectorAll(".hit").length : 0;
    $("found").textContent = query ? `${number(found + frames)} found` : "";
    for (const empty of document.querySelectorAll("[data-none]")) {
      const list = document.getElementById(empty.dataset.none);
      empty.hidden = [...list.children].some((c) => !c.hidden);
    }
    redraw();
  };

  $("search").addEventListener("input", search);
  $("search").addEventListener("keydown", (event) => { if (event.key === "Escape") { event.target.value = ""; search(); } });
  theme.addEventListener("change", () => { remember(theme.value); setTheme(theme.value); });
  $("in").addEventListener("click", () => zoom(0.5));
  $("out").addEventListener("click", () => zoom(2));
  $("all").addEventListener("click", () => show(0, data.span));
  $("weight").addEventListener("change", (event) => { metric = event.target.value === "wait" ? 2 : 1; drawFlame(); });
  $("unzoom").addEventListener("click", () => { focus = null; $("unzoom").hidden = true; drawFlame(); });
  for (const button of document.querySelectorAll("[data-site]")) {
    const site = sites[Number(button.dataset.site)];
    if (!site) { button.hidden = true; continue; }
    button.addEventListener("click", () => { site.unfold(true); site.row.scrollIntoView({ block: "center" }); site.row.querySelector("button").focus({ preventScroll: true }); });
  }
  document.addEventListener("keydown", keys);
  addEventListener("resize", () => { redraw(); drawFlame(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { redraw(); drawFlame(); });
  navigable(overtime, describeCounts);
  navigable(axis, (px) => [clock(timeAt(px, axis.clientWidth), 3)]);
  drawings.push(drawCounts, drawAxis);
  if (data.phases.length > 0) { navigable(phases, describePhase); drawings.push(drawPhases); } else { $("phaserow").hidden = true; }
  for (const node of document.querySelectorAll(".script")) node.hidden = false;
  sites.filter((s) => data.sites[s.index].named).slice(0, 1).forEach((s) => s.unfold(true));
  setTheme(recall());
  root.setAttribute("data-ready", "");
})();
