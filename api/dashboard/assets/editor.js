// Checks the definition while it is written, and leads from a problem to its line.
(() => {
  "use strict";
  const source = document.getElementById("source");
  const problems = document.getElementById("problems");
  let timer = 0, asked = 0, checked = source.value;

  const check = async () => {
    if (source.value === checked) return;
    checked = source.value;
    const number = ++asked;
    const body = new URLSearchParams({ source: source.value });
    try {
      const answer = await fetch("/workflows/check", { method: "POST", body, headers: { "X-Page-Part": "1" }, credentials: "same-origin" });
      const text = await answer.text();
      if (number === asked) problems.innerHTML = text;
    } catch { checked = ""; }
  };
  source.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(check, 600); });

  problems.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-line]");
    if (!link) return;
    event.preventDefault();
    const lines = source.value.split("\n").slice(0, Number(link.dataset.line) - 1);
    const at = lines.reduce((sum, line) => sum + line.length + 1, 0) + Number(link.dataset.column) - 1;
    source.focus();
    source.setSelectionRange(at, at);
    const height = parseFloat(getComputedStyle(source).lineHeight);
    source.scrollTop = Math.max(0, (Number(link.dataset.line) - 5) * height);
  });
})();
