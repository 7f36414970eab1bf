// What the page itself says; what its elements say is in languages/. A language listed here is used for whoever prefers
// it, or requests it in the address: /?lang=de.

import { english } from "./languages/en.js";
import { german } from "./languages/de.js";

/** @typedef {import("./languages/en.js").Phrase} Phrase */
/** @typedef {Record<keyof typeof page, Phrase>} PageWords */

/** @satisfies {Record<string, Phrase>} */
const page = {
  project: "Project",
  connecting: "Connecting…",
  reconnecting: "Reconnecting…",

  who: "Who is here?",
  choose: "Choose a person. Another tab can be somebody else.",
  choose_again: "The sign-in is not valid any more. Choose a person.",
  paste: "Paste a token that your backend has made.",
  paste_again: "The token is not valid, or no longer is. Paste another one.",
  token: "Token",
  sign_in: "Sign in",
  customer: "Customer",
  staff: "Staff",

  archived: "{name} (archived)",
  nothing: "Nothing here yet",
  nothing_hint: "You are not in any project. This page changes when you are.",

  greeting: "Where you are, {name}",
  greeting_staff: "All customers together",
  tasks: "Your tasks",
  tasks_staff: "Customers",
  conversation: "Conversation",
  announcements: "Announcements",
  for_you: "For you",
  back: "Back to the conversation",
  activity: "Activity",

  account: "{name}: mail, sign-out",
  mail: "Mail",
  leave: "Sign out",
  leave_demo: "Be somebody else",
  close: "Close",
};

/** @type {PageWords} */
const seite = {
  project: "Projekt",
  connecting: "Verbinde …",
  reconnecting: "Verbinde wieder …",

  who: "Wer ist da?",
  choose: "Wählen Sie eine Person. Ein anderer Tab kann jemand anderes sein.",
  choose_again: "Die Anmeldung gilt nicht mehr. Wählen Sie eine Person.",
  paste: "Fügen Sie ein Token ein, das Ihr Backend gemacht hat.",
  paste_again: "Das Token ist nicht oder nicht mehr gültig. Fügen Sie ein anderes ein.",
  token: "Token",
  sign_in: "Anmelden",
  customer: "Kunde",
  staff: "Team",

  archived: "{name} (archiviert)",
  nothing: "Hier ist noch nichts",
  nothing_hint: "Sie sind in keinem Projekt. Sobald sich das ändert, erscheint es hier.",

  greeting: "Ihr Stand, {name}",
  greeting_staff: "Alle Kunden zusammen",
  tasks: "Ihre Aufgaben",
  tasks_staff: "Kunden",
  conversation: "Unterhaltung",
  announcements: "Ankündigungen",
  for_you: "Für Sie",
  back: "Zurück zur Unterhaltung",
  activity: "Verlauf",

  account: "{name}: Mail, Abmelden",
  mail: "Mail",
  leave: "Abmelden",
  leave_demo: "Jemand anderes sein",
  close: "Schließen",
};

/** @type {Record<string, {page: PageWords, elements: import("./languages/en.js").Words}>} */
export const languages = {
  en: { page, elements: english },
  de: { page: seite, elements: german },
};
