// The connection: one stream, opened anew when it is lost or when something else is watched.

const AGAIN_MS = 1_000;
/** Without a message for so long, the figures are old. */
const OLD_MS = 3_000;
/** A page that nobody sees stops asking after so long: replicas collect only while somebody watches. */
const HIDDEN_MS = 60_000;

const watched = { domain: null, rule: null, entries: [] };
const link = { source: null, heardAt: 0, isLost: false, timer: null, reason: "" };

/** Changes what is watched besides the rules: a rule, a key, or both of one domain. */
function watch(change) {
  Object.assign(watched, change);
  open(live.message !== null && !link.isLost);
}

function address(keepsHistory) {
  const query = new URLSearchParams();
  if (watched.domain !== null) query.set("domain", watched.domain);
  if (watched.rule !== null) query.set("rule", watched.rule);
  for (const entry of watched.entries) query.append("entries", entry);
  if (keepsHistory) query.set("history", "0");
  return query.size > 0 ? `live?${query}` : "live";
}

function open(keepsHistory = false) {
  link.source?.close();
  clearTimeout(link.timer);
  const source = new EventSource(address(keepsHistory));
  link.source = source;
  source.addEventListener("message", (event) => heard(source, event.data));
  source.addEventListener("error", () => lost(source));
}

function heard(source, data) {
  if (source !== link.source) return;
  let message;
  try {
    message = JSON.parse(data);
  } catch {
    return;
  }
  if (message.version !== 1) return tell("lost", "This page and its Tollgate are of different versions: load the page again");
  link.heardAt = Date.now();
  link.isLost = false;
  const isFirst = live.message === null;
  const fresh = take(message);
  if (!document.hidden) draw();
  if (!isFirst) announce(fresh);
}

function lost(source) {
  if (source !== link.source) return;
  // The browser gives up after some errors, and without `history=0` the new stream tells the whole five minutes.
  source.close();
  link.isLost = true;
  clearTimeout(link.timer);
  link.timer = setTimeout(() => open(false), AGAIN_MS);
  tellLink();
  why();
}

/** A stream does not show the status of its answer; another request does, and the text says what to do. */
async function why() {
  const given = new AbortController();
  link.reason = "";
  try {
    const answer = await fetch(address(true), { signal: given.signal });
    // Too long (414, 431) is refused like what makes no sense (400); at most a few keys are watched at once (503).
    const isRefused = answer.status < 500 || watched.entries.length > 0;
    if (!answer.ok && isRefused) refused(safe(await answer.text(), 300) || `refused with status ${answer.status}`);
    else if (!answer.ok) link.reason = `${answer.status} ${safe(await answer.text(), 200)}`;
  } catch {
    // Nothing answers, which the page says already.
  }
  given.abort();
  if (link.isLost) tellLink();
}

/** What was asked for cannot be watched: the page goes on without it. */
function refused(text) {
  const hadKey = watched.entries.length > 0;
  Object.assign(watched, { domain: null, rule: null, entries: [] });
  view.open = null;
  if (hadKey) keyRefused(text);
}

function tell(kind, text) {
  const place = byId("link");
  set(place, "class", `link ${kind}`);
  say(place.lastChild, text);
}

function tellLink() {
  const silent = Date.now() - link.heardAt;
  const isOld = link.isLost || silent > OLD_MS;
  document.body.classList.toggle("old", isOld && link.heardAt > 0);
  if (!isOld) return tell("well", `live, ${clock(live.message.time_ms)}`);
  if (link.heardAt === 0) return tell(link.isLost ? "lost" : "ok", link.isLost ? `${link.reason || "No connection to Tollgate"}; trying again` : "connecting");
  tell("lost", link.isLost ? `${link.reason || "Connection to Tollgate lost"}; the figures are of ${clock(live.message.time_ms)}; trying again` : `Tollgate has been silent for ${duration(Math.round(silent / 1_000))}`);
}

function draw() {
  tellLink();
  drawSummary();
  drawRules();
  drawDomains();
  drawKey();
  drawLimiter();
  drawEvents();
}

let hiddenTimer = null;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiddenTimer);
  if (document.hidden) {
    hiddenTimer = setTimeout(() => {
      link.source?.close();
      clearTimeout(link.timer);
      link.source = null;
    }, HIDDEN_MS);
  } else if (link.source === null) open(false);
  else if (live.message) draw();
});
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest?.("input, select, textarea");
  if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    byId("filter").focus();
  }
});

buildRules();
buildKey();
buildLimiter();
setInterval(() => link.heardAt > 0 && !document.hidden && tellLink(), 1_000);
open();
