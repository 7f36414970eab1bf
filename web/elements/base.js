// What the elements have in common: the client they use, the language they speak, and how they look.

import { english } from "../languages/en.js";

/** @typedef {import("../headway.js").Headway} Headway */
/** @typedef {import("../headway.js").Events} Events */
/** @typedef {import("../languages/en.js").Phrase} Phrase */
/** @typedef {import("../languages/en.js").Words} Words */

/** What all elements share. It dispatches `change` when that changes. */
const shared = new EventTarget();

/** @type {?Headway} */
let standard = null;

/**
 * Sets the client of all elements that have none of their own.
 * @param {?Headway} headway
 */
export function use(headway) {
  standard = headway;
  shared.dispatchEvent(new Event("change"));
}

/** What the elements say. @type {Words} */
let words = english;

/**
 * Changes what the elements say: everything, in another language, or just some of the words.
 * @param {Partial<Words>} changes
 */
export function translate(changes) {
  words = { ...words, ...changes };
  shared.dispatchEvent(new Event("change"));
}

/** A style sheet that a Content-Security-Policy without unsafe-inline allows. @param {string} css */
export function sheet(css) {
  if (!globalThis.CSSStyleSheet) return /** @type {CSSStyleSheet} */ ({}); // when a server renders a page
  const made = new CSSStyleSheet();
  made.replaceSync(css);
  return made;
}

const base = sheet(`
  :host {
    --accent: var(--headway-accent, light-dark(#0b6b5d, #5fd0b8));
    --on-accent: var(--headway-on-accent, light-dark(#ffffff, #06231e));
    --surface: var(--headway-surface, light-dark(#ffffff, #1a1d1f));
    --raised: var(--headway-raised, light-dark(#f3f4f2, #26292c));
    --text: var(--headway-text, light-dark(#1b1f1e, #eceeed));
    --quiet: var(--headway-quiet, light-dark(#5b6361, #a4adaa));
    --line: var(--headway-line, light-dark(#dfe2df, #363b3e));
    --field: var(--headway-field, light-dark(#858e8a, #747d80));
    --warning: var(--headway-warning, light-dark(#9a3412, #fdba74));
    --radius: var(--headway-radius, 0.625rem);
    color: var(--text);
    display: block;
    font: inherit;
    line-height: 1.5;
    min-inline-size: 0;
    overflow-wrap: anywhere;
    -webkit-print-color-adjust: exact; /* a bar is nothing but its colours */
    print-color-adjust: exact;
  }
  :host([hidden]), [hidden] { display: none !important; }
  * { box-sizing: border-box; }
  h3, p, ul, ol { margin: 0; padding: 0; }
  ul, ol { list-style: none; }
  button, input, select, textarea { color: inherit; font: inherit; }
  button { background: none; border: 0; border-radius: var(--radius); cursor: pointer; padding: 0; text-align: start; }
  :disabled { cursor: default; }
  :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
  .quiet { color: var(--quiet); font-size: 0.875em; }
  time { unicode-bidi: plaintext; white-space: nowrap; }
  .title, .detail, .name { text-align: left; unicode-bidi: plaintext; }
  :is(.title, .detail, .name):dir(rtl) { text-align: right; }
  .alert { color: var(--warning); font-size: 0.875em; margin-block-start: 0.5rem; }
  .alert:empty { margin: 0; }
  .unseen { block-size: 1px; clip-path: inset(50%); inline-size: 1px; overflow: hidden; position: absolute; white-space: nowrap; }
  .track { background: var(--line); border-radius: 99px; block-size: var(--bar, 0.375rem); overflow: hidden; }
  .fill { background: var(--accent); block-size: 100%; border-radius: inherit; inline-size: 0; transition: inline-size 0.6s cubic-bezier(0.2, 0.8, 0.2, 1); }
  .count { background: var(--accent); border-radius: 99px; color: var(--on-accent); font-size: 0.75rem; font-variant-numeric: tabular-nums; font-weight: 600; line-height: 1.25rem; min-inline-size: 1.25rem; padding-inline: 0.375rem; text-align: center; }
  @media (forced-colors: active) {
    .track { border: 1px solid; }
    .fill { background: Highlight; forced-color-adjust: none; }
    button { border: 1px solid; }
  }
  @media (prefers-reduced-motion: reduce) { *, *::before { transition: none !important; } }
`);

/**
 * Makes an HTML element. Text from people is only ever set as text.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any>} [properties] properties or, for names with a hyphen, `class` and `role`, attributes
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "class" || name === "role") made.setAttribute(name, value);
    else Object.assign(made, { [name]: value });
  }
  made.append(...children);
  return made;
}

/** Puts the children of a list in order without touching those that are in place. @param {Element} list @param {Element[]} wanted */
export function arrange(list, wanted) {
  const kept = new Set(wanted); // of thousands
  for (const child of [...list.children]) if (!kept.has(child)) child.remove();
  wanted.forEach((child, i) => {
    // What has moved down is moved, and not all that is below it: a button that moves while it is pressed is never clicked.
    if (list.children[i + 1] === child) list.append(list.children[i]);
    if (list.children[i] !== child) list.insertBefore(child, list.children[i] ?? null);
  });
}

// How long to wait before reading again, in milliseconds: when there is constantly something new, and after a failure.
const PAUSE = 250;
const PAUSE_AFTER_FAILURE = 3000;

// What takes long to read is read less often, as a multiple of how long it took, up to a number of milliseconds: all the
// others who have the page open read it at the same moment.
const PAUSE_BY_DURATION = 4;
const MAX_PAUSE = 10_000;

/**
 * Returns a function that calls read: one call at a time, and once more if requested in the meantime. A failure is
 * retried until the signal says that the result is no longer wanted. What is only for the eyes is not read while nobody
 * can see the page.
 * @param {AbortSignal} signal
 * @param {() => Promise<void>} read
 * @param {{seen?: boolean}} [only]
 */
export function reader(signal, read, { seen = false } = {}) {
  let reading = false;
  let again = false;
  return async () => {
    again = true;
    if (reading) return;
    reading = true;
    while (again && !signal.aborted) {
      while (seen && document.visibilityState === "hidden") {
        await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true, signal }));
      }
      again = false;
      const began = performance.now();
      let pause = PAUSE;
      try {
        await read();
      } catch (error) {
        const status = error instanceof Error && "status" in error ? Number(error.status) : 500;
        const refused = status < 500 && status !== 408 && status !== 429; // some proxy may want it later
        again ||= !refused;
        pause = PAUSE_AFTER_FAILURE * (0.5 + Math.random()); // many may have failed at the same moment
      }
      pause = Math.max(pause, Math.min(PAUSE_BY_DURATION * (performance.now() - began), MAX_PAUSE));
      if (again) await new Promise((resolve) => setTimeout(resolve, pause));
    }
    reading = false;
  };
}

const RIGHT_TO_LEFT = /[\p{Bidi_Control}\p{sc=Hebr}\p{sc=Arab}\p{sc=Syrc}\p{sc=Thaa}\p{sc=Nkoo}]/u;

const FROM_THE_RIGHT = /^(ar|ckb|dv|fa|he|ps|sd|ug|ur|yi)\b/;

// Values of phrases that are phrases themselves.
const PHRASES = ["tasks", "what"];

// Text from people never changes the direction of what is next to it, nor the reverse (Unicode Standard Annex 9, 2.4).
/** @param {string} value @param {string} language */
const isolate = (value, language) =>
  RIGHT_TO_LEFT.test(value) || FROM_THE_RIGHT.test(language) ? `\u2068${value.replace(/[\u2066-\u2069]/g, "")}\u2069` : value;

/** Formats a phrase. @param {Phrase} said @param {string} language @param {Record<string, string | number>} [values] */
export function phrase(said, language, values = {}) {
  const text = typeof said === "string" ? said : (said[new Intl.PluralRules(language).select(Number(values.count))] ?? said.other ?? "");
  return text.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    if (value === undefined) return whole;
    if (typeof value === "number") return new Intl.NumberFormat(language).format(value);
    return PHRASES.includes(name) ? value : isolate(value, language);
  });
}

/** An element that shows what a client knows. It is redrawn when its client, language or attributes change. */
export class HeadwayElement extends /** @type {typeof HTMLElement} */ (globalThis.HTMLElement ?? Object) {
  /** @type {CSSStyleSheet[]} */ static sheets = [];
  /** @type {?Headway} */ #own = null;
  /** @type {?AbortController} */ #life = null;

  constructor() {
    super();
    this.root = this.attachShadow({ mode: "open" });
    this.root.adoptedStyleSheets = [base, .../** @type {typeof HeadwayElement} */ (this.constructor).sheets];
  }

  /** The client, by default the one set by use(). @returns {?Headway} */
  get headway() {
    return this.#own ?? standard;
  }
  set headway(headway) {
    this.#own = headway;
    this.#restart();
  }

  connectedCallback() {
    // Set before the element was defined, as frameworks do.
    if (Object.hasOwn(this, "headway")) {
      const { headway } = this;
      delete (/** @type {any} */ (this).headway);
      this.headway = headway;
    }
    shared.addEventListener("change", this.#restart);
    this.#restart();
  }

  disconnectedCallback() {
    shared.removeEventListener("change", this.#restart);
    this.#life?.abort();
  }

  /** @param {string} _ @param {?string} before @param {?string} now */
  attributeChangedCallback(_, before, now) {
    if (before !== now) this.#restart();
  }

  #restart = () => {
    this.#life?.abort();
    if (!this.isConnected) return;
    this.#life = new AbortController();
    this.root.replaceChildren();
    const { headway } = this;
    if (!headway) return;
    const { signal } = this.#life;
    // Nobody is shown what belonged to somebody else.
    let whose = headway.userId;
    headway.addEventListener("snapshot", () => {
      if (headway.userId !== (whose ??= headway.userId)) this.#restart();
    }, { signal });
    this.start(headway, {
      signal,
      on: (type, act) => headway.addEventListener(type, (event) => act(event.detail), { signal }),
    });
  };

  /**
   * Draws the element, and keeps it current until the signal is aborted.
   * @param {Headway} _headway
   * @param {{signal: AbortSignal, on: <K extends keyof Events>(type: K, act: (detail: Events[K]) => void) => void}} _life
   */
  start(_headway, _life) {}

  /** The number in an attribute; 0 if there is none. @param {string} name */
  number(name) {
    return Number(this.getAttribute(name)) || 0;
  }

  /** The language of the element. */
  get language() {
    let lang = "";
    for (let at = /** @type {?Element} */ (this); at && !lang; at = /** @type {ShadowRoot} */ (at.getRootNode()).host) {
      lang = /** @type {?HTMLElement} */ (at.closest("[lang]"))?.lang ?? "";
    }
    let known = "";
    try {
      [known = ""] = Intl.DateTimeFormat.supportedLocalesOf(lang ? [lang.replaceAll("_", "-")] : []);
    } catch {
      // not a language tag (BCP 47)
    }
    // Somebody whose browser is set to en-GB reads a page in en with their own date formats.
    return known && !navigator.language.startsWith(`${known}-`) ? known : navigator.language;
  }

  /** Says something. @param {keyof Words} key @param {Record<string, string | number>} [values] */
  say(key, values) {
    return phrase(words[key], this.language, values);
  }

  /** Why something failed, as text for the user. @param {unknown} error */
  failure(error) {
    if (!(error instanceof Error) || error.name !== "HeadwayError") return this.say("offline");
    console.warn(error); // the database's words are for the page's developer
    const { status } = /** @type {import("../headway.js").HeadwayError} */ (error);
    if (status === 401 || status === 403) return this.say("not_allowed");
    if (status === 404) return this.say("not_there");
    if (status === 409) return this.say("not_now");
    return this.say(status === 429 || status >= 500 ? "busy" : "not_so");
  }

  /** @param {string | number | Date} when @param {Intl.DateTimeFormatOptions} options */
  date(when, options) {
    return new Intl.DateTimeFormat(this.language, options).format(new Date(when));
  }

  /** A day, with the year if it is not the current one. @param {string | Date} when @param {Intl.DateTimeFormatOptions} [options] */
  day(when, options) {
    const year = new Date(when).getFullYear() === new Date().getFullYear() ? undefined : "numeric";
    return this.date(when, { day: "numeric", month: "long", year, ...options });
  }

  /** @param {number} percent */
  percent(percent) {
    return new Intl.NumberFormat(this.language, { style: "percent" }).format(percent / 100);
  }

  /** @param {import("../headway.js").Bar} bar */
  share({ done, total }) {
    if (total === 0) return this.say("nothing_to_do");
    return this.say(done === total ? "all_done" : "done_of", { done, total });
  }

  /** How many are unread, for a phrase: the database stops counting at 1000. @param {number} count */
  counted(count) {
    return count > 999 ? `${new Intl.NumberFormat(this.language).format(999)}+` : count;
  }

  /** The display name of a channel. @param {import("../headway.js").Channel} channel */
  nameOf(channel) {
    const name = channel.project_id && this.headway?.projects.get(channel.project_id)?.name;
    if (channel.channel === "broadcast") return this.say("announcements");
    if (channel.channel.startsWith("user_")) return this.say("for_you");
    if (!name) return channel.channel;
    if (channel.channel === `project_${channel.project_id}`) return name;
    return channel.channel === `project_${channel.project_id}_staff` ? this.say("activity", { name }) : `${name} · ${channel.channel}`;
  }
}
