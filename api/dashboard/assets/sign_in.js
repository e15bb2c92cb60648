// A key in the address (/#key=…) signs in, and does not stay in the address or the history.
(() => {
  "use strict";
  const found = /^#key=(.+)$/.exec(location.hash);
  if (found) {
    history.replaceState(null, "", location.pathname + location.search);
    const body = new URLSearchParams({ key: decodeURIComponent(found[1]) });
    const form = document.querySelector('form[action="/sign-in"] [name=next]');
    if (form) body.set("next", form.value);
    fetch("/sign-in", { method: "POST", body, credentials: "same-origin" }).then((answer) => {
      if (answer.ok) location.replace(answer.redirected ? answer.url : "/");
      else location.replace("/sign-in?expired=1");
    });
  }
  // Times in the reader's own zone, where they are shown in full.
  window.localTimes = (within) => {
    for (const time of within.querySelectorAll("time[datetime]")) {
      time.title = new Date(time.dateTime).toLocaleString();
    }
  };
  window.localTimes(document);
})();
