// The page: who is using it, and one of their projects at a time.

import { Headway, HeadwayError } from "./headway.js";
import { phrase, translate, use } from "./elements.js";
import { languages } from "./page-words.js";

/** @typedef {{id: number, name: string, role: "customer" | "staff"}} Person */

/** Where a pasted token is kept, for this tab only. */
const TOKEN = "headway-token";

/** The token, where the browser keeps nothing: one that blocks all cookies throws. @type {?string} */
let pasted = null;

function kept() {
  try {
    return sessionStorage.getItem(TOKEN) ?? pasted;
  } catch {
    return pasted;
  }
}

/** @param {?string} text */
function keep(text) {
  pasted = text;
  try {
    if (text === null) sessionStorage.removeItem(TOKEN);
    else sessionStorage.setItem(TOKEN, text);
  } catch {
    // until the page is loaded again
  }
}

/** @type {<T extends HTMLElement>(id: string) => T} */
const by = (id) => /** @type {any} */ (document.getElementById(id));

/** The language of the page: the one in the address, or else the browser's preference. */
const language = [new URLSearchParams(location.search).get("lang") ?? "", ...navigator.languages]
  .map((l) => l.split("-")[0])
  .find((l) => Object.hasOwn(languages, l)) ?? "en";

/** @param {keyof import("./page-words.js").PageWords} key @param {Record<string, string>} [values] */
const say = (key, values) => phrase(languages[language].page[key], language, values);

document.documentElement.lang = language;
translate(languages[language].elements);
for (const element of document.querySelectorAll("[data-say]")) element.textContent = say(/** @type {any} */ (element).dataset.say);

/** What the server says about itself: in a demo, the people to choose from. @type {{people?: Person[], token_url?: string}} */
const config = await fetch("page.json").then((r) => (r.ok ? r.json() : {})).catch(() => ({}));

const account = /** @type {HTMLDialogElement} */ (by("account"));

/** @type {?Headway} */ let headway = null;
/** The project on display. */
let project = 0;
/** The projects to choose from, as they are listed. */
let listed = "";
/** The channel on display. */
let channel = "";

/** The person that the address names. */
function person() {
  return config.people?.find((p) => `#${p.id}` === location.hash);
}

/** Returns a token, or null if nobody is signed in. */
async function token() {
  const chosen = person();
  if (!config.people || !config.token_url) return kept();
  if (!chosen) return null;
  const response = await fetch(config.token_url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ user_id: chosen.id }),
  });
  const answer = await response.json();
  if (!response.ok) throw new HeadwayError(response.status, answer);
  return answer.token;
}

/** @param {"sign-in" | "nothing" | "view" | ""} id */
function show(id) {
  for (const main of document.querySelectorAll("main")) main.hidden = main.id !== id;
  by("inbox").hidden = by("who").hidden = id === "" || id === "sign-in";
  if (id !== "view") by("switcher").hidden = true;
}

/** @param {string} [hint] */
function signIn(hint) {
  document.title = "headway";
  account.close();
  by("state").textContent = "";
  by("sign-in-hint").textContent = hint ?? say(config.people ? "choose" : "paste");
  by("token-form").hidden = Boolean(config.people);
  by("people").replaceChildren(...(config.people ?? []).map(button));
  show("sign-in");
}

/** @param {Person} someone */
function button(someone) {
  const name = Object.assign(document.createElement("span"), { className: "name", textContent: someone.name });
  const role = Object.assign(document.createElement("span"), { className: "quiet", textContent: say(someone.role) });
  const made = Object.assign(document.createElement("button"), { type: "button", onclick: () => (location.hash = `#${someone.id}`) });
  made.append(name, " ", role);
  const item = document.createElement("li");
  item.append(made);
  return item;
}

/** Starts as whoever is signed in now. */
function start() {
  headway?.close();
  headway = null;
  use(null);
  project = 0;
  if (config.people ? !person() : !kept()) return signIn();
  show("");
  const client = new Headway({ token: async () => (client === headway ? token() : null) }); // none once somebody else has signed in
  headway = client;
  client.addEventListener("state", () => client === headway && tell(client));
  for (const type of ["snapshot", "channel"]) client.addEventListener(type, () => client === headway && draw(client));
  use(client);
  client.connect();
}

/** @type {ReturnType<typeof setTimeout> | undefined} */ let worry;

/** Shows the state of the connection if it has been bad for more than a moment. @param {Headway} client */
function tell(client) {
  clearTimeout(worry);
  if (client.state === "unauthorized") {
    keep(null);
    client.close();
    use(null);
    signIn(say(config.people ? "choose_again" : "paste_again"));
  } else if (client.state === "open" || client.state === "closed") {
    by("state").textContent = "";
  } else {
    worry = setTimeout(() => (by("state").textContent = say(client.userId === null ? "connecting" : "reconnecting")), 400);
  }
}

/** @param {Headway} client */
function draw(client) {
  by("who").textContent = client.fullname;
  by("who").setAttribute("aria-label", say("account", { name: client.fullname }));
  const found = client.projects.get(project) ?? [...client.projects.values()].find((p) => !p.archived_at) ?? [...client.projects.values()][0];
  if (!found) return show("nothing");
  if (found.project_id !== project) choose(found.project_id);
  const staff = found.role === "staff";
  const unread = [...client.channels.values()].reduce((sum, c) => sum + c.unread, 0);
  document.title = `${unread ? `(${unread > 999 ? "999+" : unread}) ` : ""}${found.name}`;
  if (!client.channels.has(channel)) choose(project); // the user was removed from it
  by("title").textContent = named(found);
  by("greeting").textContent = staff ? say("greeting_staff") : say("greeting", { name: client.fullname });
  by("tasks-title").textContent = say(staff ? "tasks_staff" : "tasks");
  document.body.classList.toggle("staff", staff);
  by("activity-section").hidden = !staff;
  put("activity", "channel", staff ? `project_${project}_staff` : null);
  title(client);

  const select = /** @type {HTMLSelectElement} */ (by("project"));
  // Only if something has changed: an open list would close. And of hundreds, for each message, making them takes time.
  const projects = [...client.projects.values()].map((p) => [named(p), String(p.project_id)]);
  const now = JSON.stringify(projects);
  if (now !== listed) select.replaceChildren(...projects.map(([name, id]) => new Option(name, id)));
  listed = now;
  select.value = String(project);
  by("switcher").hidden = client.projects.size < 2;
  show("view");
}

/** The display name of a project. @param {import("./headway.js").Project} project */
function named({ name, archived_at }) {
  return archived_at ? say("archived", { name }) : name;
}

/** Shows a project and a channel, by default the project's own. @param {number} id @param {string} [name] */
function choose(id, name = `project_${id}`) {
  project = id;
  channel = name;
  put("progress", "project", String(id));
  put("tasks", "project", String(id));
  put("chat", "channel", channel);
}

/** @param {string} id @param {string} name @param {?string} value */
function put(id, name, value) {
  if (value === null) by(id).removeAttribute(name);
  else if (by(id).getAttribute(name) !== value) by(id).setAttribute(name, value);
}

/** @param {Headway} client */
function title(client) {
  const own = `user_${client.userId}`;
  const titles = { broadcast: say("announcements"), [own]: say("for_you"), [`project_${project}`]: say("conversation") };
  by("chat-title").textContent = titles[channel] ?? client.channels.get(channel)?.channel ?? "";
  by("back").hidden = channel === `project_${project}`;
  by("chat").toggleAttribute("readonly", channel === own);
}

addEventListener("hashchange", start);
by("project").addEventListener("change", (event) => {
  choose(Number(/** @type {HTMLSelectElement} */ (event.target).value));
  if (headway) draw(headway);
});
by("inbox").addEventListener("headway-open", (event) => {
  const { channel: name, project_id } = event.detail;
  const activity = name === `project_${project_id}_staff`;
  choose(project_id ?? project, activity ? undefined : name);
  if (headway) draw(headway);
  by(activity ? "activity" : "chat").scrollIntoView({ block: "nearest" });
});
by("back").addEventListener("click", () => {
  choose(project);
  if (headway) draw(headway);
});

by("leave").textContent = say(config.people ? "leave_demo" : "leave");
by("who").addEventListener("click", () => {
  by("preferences").replaceChildren(document.createElement("headway-preferences"));
  account.showModal();
});
account.addEventListener("close", () => account.open || by("preferences").replaceChildren()); // unless it was opened again before this event
account.addEventListener("click", (event) => void (event.target === account && account.close())); // outside the dialog's content
by("close").addEventListener("click", () => account.close());
by("leave").addEventListener("click", () => {
  account.close();
  if (config.people) {
    location.hash = "";
  } else {
    keep(null);
    start();
  }
});
by("token").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  /** @type {HTMLFormElement} */ (by("token-form")).requestSubmit();
});
by("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = /** @type {HTMLTextAreaElement} */ (by("token"));
  keep(field.value.trim());
  field.value = "";
  start();
});
start();
