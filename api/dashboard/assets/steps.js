// Shows a step's details in their panel without leaving the page; without this script its links load the page anew.
(() => {
  "use strict";
  const panel = document.getElementById("step");
  const part = document.getElementById("part");
  const path = location.pathname;
  if (!panel) return;
  let asked = 0;

  const mark = () => {
    const chosen = new URLSearchParams(location.search).get("step");
    for (const each of document.querySelectorAll("[data-step]")) each.classList.toggle("chosen", each.dataset.step === chosen);
    part.dataset.part = path + (chosen ? `?step=${encodeURIComponent(chosen)}` : "");
  };

  const show = async (search, move) => {
    const number = ++asked;
    panel.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(`${path}/step${search}`, { headers: { "X-Page-Part": "1" }, credentials: "same-origin" });
      const text = await answer.text();
      if (number !== asked) return;
      panel.innerHTML = text;
      window.localTimes(panel);
    } catch {
      if (number === asked) location.assign(path + search);
    } finally {
      if (number === asked) panel.removeAttribute("aria-busy");
    }
    if (move) {
      const box = panel.getBoundingClientRect();
      if (box.top < 0 || box.top > innerHeight * 0.6) panel.scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
      panel.focus({ preventScroll: true });
    }
  };

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a.step");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    const address = link.href.baseVal !== undefined ? link.href.baseVal : link.getAttribute("href");
    const search = new URL(address, location.href).search;
    event.preventDefault();
    history.pushState(null, "", path + search);
    mark();
    show(search, true);
  });
  addEventListener("popstate", () => { mark(); if (location.search.includes("step=")) show(location.search, false); });
  document.addEventListener("renewed", mark);
  mark();
})();
