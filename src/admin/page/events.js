// What began and ended, newest first.

/** The state and the sentence of each kind; a part that came from outside is [text]. */
const SENTENCES = {
  denials_began: (event) => ["over", "Denials began for ", [nameOf(event)], " by ", [event.rule]],
  denials_ended: (event) => ["ok", "Denials ended for ", [nameOf(event)], " by ", [event.rule], `: ${count(event.denied)} in ${duration(event.seconds)}`],
  denials_more: (event) => ["over", `Denials began for ${plural(event.began, "more key")}, and ended for ${count(event.ended)}`],
  config_taken: (event) => ["ok", "Rules ", [event.version], ` came into force: ${plural(event.limits, "limit")} in ${plural(event.domains, "domain")}`],
  config_refused: (event) => ["over", "A configuration was refused: ", [(event.errors ?? []).slice(0, 3).join("; "), 400]],
  store_lost: (event) => ["over", "The store was lost: ", [event.text, 300]],
  store_back: (event) => ["well", `The store is back after ${duration(event.seconds)}`],
  replica_joined: (event) => ["ok", `A replica joined: ${count(event.replicas)} now`],
  replica_left: (event) => ["near", `A replica left: ${plural(event.replicas, "replica")} now`],
};

const nameOf = (event) => event.values ?? event.name;

function sentence(event) {
  const make = Object.hasOwn(SENTENCES, event.kind) ? SENTENCES[event.kind] : null;
  if (make) return make(event);
  const { id, time_ms, replica, kind, ...rest } = event;
  return ["ok", [kind], " ", [JSON.stringify(rest), 300]];
}

function drawEvents() {
  const several = live.message.replicas.length > 1;
  const list = byId("events");
  if (live.events.length === 0) {
    reconcile(list, ["none"], (item) => item, () => h("li", { class: "soft" }, h("span"), h("span"), h("span", { class: "said soft" }, "Nothing yet. Here will stand when denials begin and end for a key, when rules are taken or refused, and when the store or a replica comes or goes.")));
    return;
  }
  const where = list.scrollTop;
  reconcile(list, live.events, (event) => `${event.replica} ${event.id}`, (event) => makeEvent(event, several));
  // Who reads further down keeps the place.
  if (where > 0) list.scrollTop = where;
}

function makeEvent(event, several) {
  const [kind, ...said] = sentence(event);
  const text = h("span", { class: "said" }, ...said.map((part) => (Array.isArray(part) ? outside(part[0], "name", part[1] ?? 80) : part)));
  const time = h("time", { class: "soft", datetime: new Date(event.time_ms).toISOString() }, clock(event.time_ms));
  return h("li", { class: kind }, time, h("span", { class: "mark" }), text, several ? outside(event.replica, "soft", 20) : "");
}

/** For screen readers: at most one sentence in ten seconds, and only what is new. */
let announcedAt = 0;
function announce(fresh) {
  const grave = fresh.filter((event) => ["over", "well"].includes(sentence(event)[0]));
  if (grave.length === 0 || Date.now() - announcedAt < 10_000) return;
  announcedAt = Date.now();
  const [, ...said] = sentence(grave[0]);
  const more = grave.length > 1 ? `, and ${plural(grave.length - 1, "more event")}` : "";
  say(byId("announce"), said.map((part) => (Array.isArray(part) ? safe(part[0], 80) : part)).join("") + more);
}
