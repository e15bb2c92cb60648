// Keeps a part of the page up to date: the server says that something happened, and the part is fetched again.
(() => {
  "use strict";
  const part = document.getElementById("part");
  const sign = document.getElementById("live");
  const log = document.getElementById("events");
  if (!part) return;
  const LEAST = 700;
  let timer = 0, last = 0, busy = false, again = false, isOver = !part.dataset.live;

  const refresh = (soon = false) => {
    if (timer || document.hidden) { again = again || document.hidden; return; }
    timer = setTimeout(load, soon ? 0 : Math.max(60, last + LEAST - Date.now()));
  };

  // What is the same stays; focus and the place in the graph are kept.
  const renew = (old, fresh) => {
    if (!old || old.innerHTML === fresh.innerHTML) return;
    const held = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    const box = old.querySelector(".scroll");
    const at = box ? [box.scrollLeft, box.scrollTop] : [0, 0];
    old.replaceChildren(...fresh.childNodes);
    const scrolled = old.querySelector(".scroll");
    if (scrolled) scrolled.scrollTo(...at);
    if (held) for (const link of old.querySelectorAll("a")) if (link.getAttribute("href") === held) { link.focus({ preventScroll: true }); break; }
  };

  const load = async () => {
    timer = 0;
    if (busy) { again = true; return; }
    busy = true; again = false; last = Date.now();
    try {
      const answer = await fetch(part.dataset.part, { headers: { "X-Page-Part": "1" }, credentials: "same-origin" });
      if (answer.status === 503) { tell("waiting for the database", false); setTimeout(refresh, 2000); return; }
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!fresh.querySelector("[data-slot]")) { part.replaceChildren(...fresh.body.childNodes); return; }
      for (const slot of fresh.querySelectorAll("[data-slot]")) renew(part.querySelector(`[data-slot="${slot.dataset.slot}"]`), slot);
      window.localTimes(part);
      part.dispatchEvent(new CustomEvent("renewed", { bubbles: true }));
    } catch { setTimeout(refresh, 2000); } finally { busy = false; if (again) refresh(); }
  };

  const tell = (text, isGood) => {
    if (!sign) return;
    sign.hidden = false;
    if (sign.textContent !== text) sign.textContent = text;
    sign.classList.toggle("good", isGood);
  };

  const seen = new Set();
  if (log) for (const line of log.children) seen.add(line.dataset.event);

  // All of it is text: nothing of a tenant's is ever read as HTML.
  const write = (event) => {
    if (!log || seen.has(event.id)) return;
    seen.add(event.id);
    const atEnd = log.scrollTop + log.clientHeight > log.scrollHeight - 30;
    const line = document.createElement("li");
    const add = (name, kind, text) => {
      const made = document.createElement(name);
      made.className = kind;
      made.textContent = text;
      line.append(made, " ");
      return made;
    };
    const time = add("time", "", event.at.slice(11, 23));
    time.dateTime = event.at;
    add("span", "type", event.type);
    if (event.step) {
      const link = add("a", "step", event.item ? `${event.step} #${event.item}` : event.step);
      link.href = `?step=${encodeURIComponent(event.step)}${event.item ? `&item=${event.item}` : ""}`;
    }
    if (event.data && event.data.error) add("span", "said", String(event.data.error.message || "").slice(0, 200));
    if (event.data && event.data.signal) add("span", "muted", `${event.data.event} ${event.data.key}`);
    log.append(line);
    while (log.children.length > 1000) log.firstElementChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  };

  const listen = () => {
    const source = new EventSource(part.dataset.live);
    source.onopen = () => { tell("live", true); refresh(); };
    source.onerror = () => {
      tell("connecting again …", false);
      if (source.readyState === EventSource.CLOSED) setTimeout(() => { if (!isOver) listen(); }, 3000);
    };
    source.onmessage = (message) => { write(JSON.parse(message.data)); refresh(); };
    source.addEventListener("run", () => refresh());
    source.addEventListener("end", () => {
      isOver = true;
      source.close();
      sign.hidden = true;
      // Its output is a part of the page that is told once.
      if (document.querySelector("[data-when-over]")) location.reload(); else refresh(true);
    });
    addEventListener("pagehide", () => source.close(), { once: true });
    addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); }, { once: true });
  };

  document.addEventListener("visibilitychange", () => { if (!document.hidden && again) { again = false; refresh(true); } });

  const span = (seconds) => {
    if (seconds < 60) return `${seconds.toFixed(1)} s`;
    if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
    return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  };
  setInterval(() => {
    for (const each of document.querySelectorAll("[data-since]")) {
      each.textContent = span(Math.max(0, (Date.now() - Date.parse(each.dataset.since)) / 1000));
    }
  }, 500);

  if (log) log.scrollTop = log.scrollHeight;
  if (!isOver) {
    listen();
    // That a step has begun is no event: look now and then.
    const every = Number(part.dataset.every || 0);
    if (every) { const looking = setInterval(() => { if (isOver) clearInterval(looking); else refresh(); }, every); }
  }
})();
