// A key in the address (/#key=…) signs in who is not, and does not stay in the address or the history. Who is signed in
// stays so: else a link of another site's could have them work under somebody else's key, unnoticed.
(() => {
  "use strict";
  const found = /^#key=(.+)$/.exec(location.hash);
  if (found) {
    history.replaceState(null, "", location.pathname + location.search);
  }
  const next = document.querySelector('form[action="/sign-in"] [name=next]');
  if (found && next) {
    const body = new URLSearchParams({ key: decodeURIComponent(found[1]), next: next.value });
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
