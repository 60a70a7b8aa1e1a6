// What a page does by itself: keeps times current, says whether it is live, and leaves alone what somebody is busy with
// while a part of it is replaced. Everything works without it, only less lively.
"use strict";
(() => {
  const korean = document.documentElement.lang === "ko";
  const units = korean ? ["일", "시간", "분", "초"] : ["\u00a0d", "\u00a0h", "\u00a0min", "\u00a0s"];

  // As the server writes spans.
  const span = (seconds) => {
    const s = Math.max(0, Math.floor(seconds));
    const [d, h, m, sec] = units;
    if (s < 60) return s + sec;
    if (s < 3600) return Math.floor(s / 60) + m;
    if (s < 36000 && s % 3600 >= 60) return `${Math.floor(s / 3600)}${h} ${Math.floor((s % 3600) / 60)}${m}`;
    if (s < 172800) return Math.floor(s / 3600) + h;
    if (s < 864000 && s % 86400 >= 3600) return `${Math.floor(s / 86400)}${d} ${Math.floor((s % 86400) / 3600)}${h}`;
    return Math.floor(s / 86400) + d;
  };

  const show = (time) => {
    const at = new Date(time.dateTime);
    const passed = (Date.now() - at) / 1000;
    let text;
    if ("since" in time.dataset) {
      const ago = korean ? `${span(passed)} 전` : `${span(passed)} ago`;
      text = passed < 5 ? (korean ? "방금" : "just now") : ago;
    } else if ("until" in time.dataset) {
      const left = korean ? `${span(-passed)} 남음` : `${span(-passed)} left`;
      text = passed < 0 ? left : korean ? "기한 도래" : "due";
    } else {
      const today = at.toDateString() === new Date().toDateString();
      const day = today ? {} : { year: "numeric", month: "2-digit", day: "2-digit" };
      const clock = { hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...(today ? { second: "2-digit" } : {}) };
      text = at.toLocaleString(korean ? "ko" : "en", { ...day, ...clock });
    }
    if (time.textContent !== text) time.textContent = text;
    if (!time.dataset.local) {
      time.title = at.toLocaleString(korean ? "ko" : "en");
      time.dataset.local = "1";
    }
  };
  const times = () => document.querySelectorAll("time[datetime]").forEach(show);

  const live = (lost) => {
    const sign = document.getElementById("live");
    if (!sign) return;
    const text = lost ? sign.dataset.lost : sign.dataset.on;
    sign.classList.toggle("lost", lost);
    if (sign.textContent !== text) sign.textContent = text;
  };

  Idiomorph.defaults.ignoreActiveValue = true;
  Object.assign(Idiomorph.defaults.callbacks, {
    // What was folded out stays so.
    beforeAttributeUpdated: (name, node) => !(name === "open" && node.tagName === "DETAILS"),
    beforeNodeMorphed: (before, after) => {
      if (before.tagName === "TIME") return before.dateTime !== after.dateTime;
      // What was typed stays.
      const typed = before.matches?.("input:not([type=hidden]), textarea");
      return !(typed && before.value !== after.value);
    },
  });

  // A page that can be seen hears when what it shows has changed. One that cannot be seen holds no connection, of which a
  // browser has few for each host, and catches up when it is looked at again: the first message always comes at once.
  const watching = document.querySelector("[data-live]");
  let source = null;
  const rest = () => {
    source?.close();
    source = null;
  };
  const listen = () => {
    if (!watching || source || document.hidden) return;
    source = new EventSource(watching.dataset.live);
    source.addEventListener("open", () => live(false));
    source.addEventListener("changed", () => htmx.trigger(watching, "changed"));
    source.addEventListener("error", () => {
      live(true);
      if (source?.readyState !== EventSource.CLOSED) return;
      rest();
      setTimeout(listen, 2000);
    });
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? rest() : listen()));
  listen();

  // The day begins where people are, and not where the server is.
  document.cookie = `jumun_offset=${-new Date().getTimezoneOffset()}; Path=/; Max-Age=31536000; SameSite=Lax`;

  document.addEventListener("htmx:afterSettle", times);
  times();
  setInterval(times, 1000);
})();
