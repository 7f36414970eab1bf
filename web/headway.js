// The browser's side of headway's gateway: one connection, kept alive, and what is known through it.
//
//   import { Headway } from "./headway.js";
//   const headway = new Headway({
//     url: "https://headway.example.com",
//     token: async () => {
//       const answer = await fetch("/token");
//       if (answer.status === 401) return null; // nobody is signed in
//       if (!answer.ok) throw new Error(answer.statusText); // asked again after a while
//       return answer.text();
//     },
//   });
//   headway.addEventListener("progress", (event) => console.log(event.detail.project));
//   headway.connect();
//
// No dependencies. Nothing here draws anything: elements.js does.

import { Names } from "./client/names.js";
import { remaining, Tokens } from "./client/tokens.js";

/**
 * For customers, a project's progress is their own, and is kept up to date; for staff it is everybody's, as of the last
 * snapshot.
 *
 * @typedef {{done: number, total: number}} Share
 * @typedef {{done: number, total: number, percent: number, customers?: number}} Bar
 * @typedef {{project_id: number, name: string, archived_at: ?string, role: "staff" | "customer", version: number, shared: Share, progress: Bar}} Project
 * @typedef {{channel: string, project_id: ?number, last_seq: number, read_seq: number, unread: number, muted: boolean}} Channel
 * @typedef {{project_id: number, title: string, user_id?: number, reason?: string}} Told what an activity message is about; the data of chat is the application's, and may be any JSON
 * @typedef {{id: number, channel: string, seq: number, kind: string, sender: ?number, fullname?: ?string, content: string, task_id: ?number, data: ?Told, sent_at: string}} Message
 * @typedef {{id: number, title: string, detail: ?string, weight: number, shared: boolean, audience: string, due_at: ?string, position: number, complete: boolean, blocked_by: {id: number, title: string}[]}} Task blocked_by may include tasks that are only for others
 * @typedef {{digest_after: ?string, time_zone: string, quiet_from: ?string, quiet_until: ?string}} Preferences for mail: the delay, an
 *   interval, null for the default; and the quiet hours, by the clock of the zone
 * @typedef {Preferences & {id: number, fullname: string, email: ?string, mail_suspended_at: ?string, mail_suspended_reason: ?string}} Account
 * @typedef {{state: State, snapshot: {anew: boolean}, progress: {project: Project}, message: {message: Message}, channel: {channel: Channel}}} Events
 * @typedef {<K extends keyof Events>(type: K, listener: ?((event: CustomEvent<Events[K]>) => void), options?: boolean | AddEventListenerOptions) => void} Listen
 * @typedef {"connecting" | "open" | "waiting" | "unauthorized" | "closed"} State
 * @typedef {object} Options
 * @property {string} [url] where the gateway is; by default the page's own directory
 * @property {() => Promise<?string>} token returns a new token from the application's backend; called by connect(),
 *   before the last one expires, and after it was refused. Null: nobody is signed in.
 */

// Why a WebSocket ended: the gateway's codes, and the one for no reason given (RFC 6455, section 7.1.5).
const UNAUTHORIZED = 4401;
const RESYNC = 4409;
const TOO_MANY = 4429;
const ABNORMAL = 1006;

// How many new tokens in a row may be refused.
const MAX_REFUSED = 3;

// After this many milliseconds without any data, a connection counts as lost: the gateway sends a beat every 25 s.
const SILENCE = 60_000;

// How long the handshake of a WebSocket may take, in milliseconds: some proxies do not refuse but never answer it. A
// ticket, which is good for half a minute, has to outlast one.
const HANDSHAKE = 10_000;

// After this many milliseconds, a snapshot is read when the user returns to the page: names and dates are not pushed.
const STALE = 15_000;

// How long a request may take, in milliseconds: a network may swallow it and never say so. The gateway takes at most 10 s.
const REQUEST_TIMEOUT = 30_000;

// How long to wait, in milliseconds, before reading a snapshot again that events have overtaken.
const PAUSE = 250;

// How long to wait for the first of the Server-Sent Events, in milliseconds: some proxies pass nothing on until a
// response has ended.
const FIRST_EVENT = 10_000;

// Where no events come through: how often to ask, and when to try again, after an error and after silence, in
// milliseconds.
const POLL = 10_000;
const AFTER_ERROR = 60_000;
const AFTER_SILENCE = 600_000;

// How many messages of a channel are fetched at once, if that many were missed.
const MOST = 500;

// A position longer than this many characters is not put into a URL: proxies accept about 8,000.
const MAX_POSITION = 6_000;

/** Why the gateway refused a request. */
export class HeadwayError extends Error {
  /** @param {number} status @param {{title?: string, detail?: string}} problem */
  constructor(status, problem) {
    super(problem.title ?? `HTTP ${status}`);
    this.name = "HeadwayError";
    this.status = status;
    this.hint = problem.detail ?? "";
  }
}

/**
 * A connection to the gateway. Its events are:
 *
 * - `state`: detail is a State; `open` means that what is known is up to date, `unauthorized` that connect() should be
 *   called once there is somebody to connect for
 * - `snapshot`: everything may have changed; where no events come through, it takes the place of `progress` and `channel`
 * - `progress`: detail is `{project}`; for staff it means that somebody's bar has moved, and progress() tells whose
 * - `message`: detail is `{message}`; each message once, in order within its channel
 * - `channel`: detail is `{channel}`, whose cursor, number of unread messages or muting has changed; one that was
 *   added or removed is told by `snapshot`
 */
export class Headway extends /** @type {new () => {addEventListener: Listen, removeEventListener: Listen} & EventTarget} */ (EventTarget) {
  /** @type {?number} */ userId = null;
  /** @type {string} */ fullname = "";
  /** @type {State} */ state = "closed";
  /** @type {Map<number, Project>} */ projects = new Map();
  /** @type {Map<string, Channel>} */ channels = new Map();

  #url;
  #tokens;
  /** @type {?(WebSocket | EventSource)} */ #line = null;
  /** Whether anything came through the last line. */ #through = true;
  /** For Server-Sent Events, if nothing did. @type {?string} */ #ticket = null;
  /** @type {?{channels: Record<string, number>, projects: Record<number, number>}} */ #position = null;
  /** @type {?symbol} */ #opening = null;
  /** While no events come through, when to try again; 0: they do. */ #polling = 0;
  /** Another with each connect(): somebody else may have signed in. */ #session = Symbol("session");
  #attempts = 0;
  #refused = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #renewal;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #silence;
  #heard = 0;
  /** When the last snapshot came. */ #known = 0;
  #refreshing = false;
  #stale = false;
  #names = new Names((project) => this.people(project));
  /** Until what was asked about the user's preferences is answered. @type {Promise<unknown>} */ #settled = Promise.resolve();
  /** By channel, the last message that the last snapshot counted. @type {Map<string, number>} */ #counted = new Map();
  /** By channel, the seqs of others' unread messages. @type {Map<string, number[]>} */ #others = new Map();

  /** @param {Options} options */
  constructor({ url = "", token }) {
    super();
    // Always a directory, with or without a trailing slash.
    const base = new URL(url || ".", globalThis.location?.href ?? url);
    if (!base.pathname.endsWith("/")) base.pathname += "/";
    this.#url = base;
    this.#tokens = new Tokens(token);
  }

  /** Connects, and reconnects whenever the connection is lost, until close() is called. */
  connect() {
    if (this.state !== "closed" && this.state !== "unauthorized") return;
    this.#refused = this.#attempts = 0;
    this.#session = Symbol("session");
    this.userId = null; // until a snapshot says who it is now
    this.#tokens.forget();
    globalThis.addEventListener?.("online", this.#wake);
    globalThis.document?.addEventListener("visibilitychange", this.#wake);
    this.#open();
  }

  /** Ends the connection. connect() resumes it where it was. */
  close() {
    this.#end();
    this.#tell("closed");
  }

  #end() {
    this.#opening = this.#ticket = null;
    this.#polling = 0;
    clearTimeout(this.#timer);
    globalThis.removeEventListener?.("online", this.#wake);
    globalThis.document?.removeEventListener("visibilitychange", this.#wake);
    this.#drop();
  }

  #drop() {
    clearTimeout(this.#renewal);
    clearTimeout(this.#silence);
    const line = this.#line;
    this.#line = null;
    line?.close();
  }

  // The network is back, or the user looks at the page, perhaps after the machine slept.
  #wake = () => {
    if (globalThis.document?.visibilityState === "hidden") return;
    if (this.state === "waiting") {
      clearTimeout(this.#timer);
      this.#open();
    } else if (this.#line && Date.now() - this.#heard > SILENCE) this.#lose();
    else if (this.#polling) this.#poll();
    else if (this.state === "open" && Date.now() - this.#known > STALE) this.#refresh();
  };

  /** @param {WebSocket | EventSource} line */
  #listen(line) {
    this.#line = line;
    this.#hear(line);
    line.onmessage = (/** @type {MessageEvent} */ event) => {
      if (line !== this.#line) return;
      this.#through = true;
      this.#ticket = null;
      this.#hear(line);
      this.#take(JSON.parse(event.data));
    };
  }

  /** @param {WebSocket | EventSource} line @param {number} [patience] in milliseconds, until it counts as lost */
  #hear(line, patience = SILENCE) {
    this.#heard = Date.now();
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => line === this.#line && this.#lose(), patience);
  }

  #lose() {
    this.#drop();
    if (this.#through) this.#again();
    else if (this.#ticket) this.#openEvents(this.#ticket);
    else this.#askForTicket();
  }

  async #open() {
    this.#polling = 0;
    this.#tell("connecting");
    if (this.state !== "connecting") return; // a listener has closed it
    const opening = (this.#opening = Symbol("opening"));
    const token = await this.#tokens.current().catch(() => undefined);
    if (opening !== this.#opening) return; // closed in the meantime
    if (token === null) return this.#refuse();
    if (token === undefined) return this.#again(); // the backend cannot be reached
    this.#openSocket(token);
  }

  /** @param {string} token */
  #openSocket(token) {
    const address = new URL("api/ws", this.#url);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address);
    this.#through = false;
    this.#listen(socket);
    this.#hear(socket, HANDSHAKE);
    socket.onopen = () => {
      this.#hear(socket);
      socket.send(JSON.stringify({ token, position: this.#position }));
      this.#renewLater(socket, token);
    };
    socket.onclose = (event) => {
      if (socket !== this.#line) return;
      if (event.code !== ABNORMAL) this.#through = true;
      if (event.code === RESYNC) this.#position = null;
      if (event.code === TOO_MANY) this.#attempts = Math.max(this.#attempts, 6); // the longest delay
      if (event.code === UNAUTHORIZED) this.#unwelcome();
      else this.#lose();
    };
  }

  // Nothing came through a WebSocket. If the gateway can be reached, a WebSocket is tried once more, as it may only
  // just have come back; if again nothing comes through, some proxy blocks it, and a ticket for Server-Sent Events is
  // used.
  async #askForTicket() {
    this.#tell("connecting");
    if (this.state !== "connecting") return;
    const opening = (this.#opening = Symbol("opening"));
    try {
      const { ticket } = await this.request("POST", "api/ticket");
      if (opening !== this.#opening) return; // closed in the meantime
      this.#ticket = ticket;
      this.#open();
    } catch (error) {
      if (opening === this.#opening) this.#fail(error);
    }
  }

  /** @param {unknown} error why a request failed */
  #fail(error) {
    if (error instanceof HeadwayError && error.status === 401) this.#unwelcome();
    else this.#again();
  }

  // Server-Sent Events carry the same events, and end with their token; then a WebSocket is tried again.
  /** @param {string} ticket */
  #openEvents(ticket) {
    this.#through = false;
    this.#ticket = null;
    if (!globalThis.EventSource) return this.#startPolling(AFTER_SILENCE);
    const address = new URL("api/events", this.#url);
    address.searchParams.set("ticket", ticket);
    if (this.#position) address.searchParams.set("position", JSON.stringify(this.#position));
    if (address.search.length > MAX_POSITION) address.searchParams.delete("position");
    const source = new EventSource(address);
    this.#listen(source);
    source.onerror = () => {
      if (source !== this.#line) return;
      if (this.#through) this.#lose(); // its ticket is used up
      else this.#startPolling(AFTER_ERROR);
    };
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => source === this.#line && this.#startPolling(AFTER_SILENCE), FIRST_EVENT);
  }

  /** @param {number} duration */
  #startPolling(duration) {
    this.#drop();
    this.#polling = Date.now() + duration;
    this.#poll();
  }

  // Reads what there is, again and again, until it is time to see whether events come through by now.
  async #poll() {
    clearTimeout(this.#timer);
    const opening = (this.#opening = Symbol("opening"));
    try {
      const snapshot = await this.snapshot();
      const missed = await this.#missed(snapshot);
      if (opening !== this.#opening) return; // closed, or asked again, in the meantime
      this.#load(snapshot, !missed);
      for (const message of missed ?? []) this.#takeMessage(message);
    } catch (error) {
      if (opening === this.#opening) this.#fail(error);
    }
    if (opening !== this.#opening || !this.#polling) return; // closed by a listener, or failed
    const next = () => (Date.now() < this.#polling ? this.#poll() : this.#open());
    this.#timer = setTimeout(next, POLL * (0.5 + Math.random()));
  }

  /**
   * The messages between what was known and a snapshot; null if nothing was known, they are too many, or the database
   * has gone back.
   * @param {any} snapshot @returns {Promise<?Message[]>}
   */
  async #missed(snapshot) {
    const known = this.#position?.channels;
    if (!known) return null;
    const pages = await Promise.all(snapshot.channels.map(async (/** @type {Channel} */ { channel, last_seq }) => {
      const after = known[channel] ?? last_seq;
      const page = after < last_seq ? await this.messages(channel, { after, limit: MOST }) : [];
      return (page[page.length - 1]?.seq ?? after) < last_seq || after > last_seq ? null : page;
    }));
    return pages.includes(null) ? null : pages.flat();
  }

  // A new token may help, but not forever.
  #unwelcome() {
    this.#drop();
    this.#tokens.forget();
    if (++this.#refused < MAX_REFUSED) this.#again();
    else this.#refuse();
  }

  #refuse() {
    this.#end();
    this.#tokens.forget();
    this.#tell("unauthorized");
  }

  // Many clients lose their connection at the same moment: most of the delay is random.
  #again() {
    this.#ticket = null;
    this.#polling = 0;
    const delay = Math.min(30_000, 500 * 2 ** this.#attempts++);
    this.#tell("waiting");
    if (this.state !== "waiting") return;
    this.#timer = setTimeout(() => this.#open(), delay * (0.5 + Math.random()));
  }

  // A connection outlives its first token: the gateway accepts the next one before the current one expires.
  /** @param {WebSocket} socket @param {string} token @param {number} [least] how long to wait at least, in milliseconds */
  #renewLater(socket, token, least = 5_000) {
    const left = remaining(token);
    if (Number.isNaN(left)) return; // then the gateway says when
    const delay = Math.min(Math.max(left * 0.8, least), 2 ** 31 - 1);
    // By a clock that is wrong, each new token seems to have expired: they are asked for less and less often.
    const patience = left * 0.8 < least ? Math.min(2 * least, 120_000) : undefined;
    this.#renewal = setTimeout(async () => {
      const next = await this.#tokens.supply().catch(() => undefined); // the current one is good until then
      if (socket !== this.#line) return;
      if (next === null) return this.#refuse();
      if (next) {
        this.#tokens.use(next);
        socket.send(JSON.stringify({ token: next }));
      }
      this.#renewLater(socket, next ?? token, patience);
    }, delay);
  }

  /** @param {State} state */
  #tell(state) {
    if (state === this.state) return;
    this.state = state;
    this.#emit("state", state);
  }

  /** @template {keyof Events} K @param {K} type @param {Events[K]} detail */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  /** @param {any} event */
  #take(event) {
    switch (event.type) {
      case "snapshot":
      case "resumed":
        this.#load(event.snapshot, event.type === "snapshot");
        break;
      case "message":
        this.#takeMessage(event);
        break;
      case "progress":
        this.#takeProgress(event);
        break;
      case "read":
        if (event.muted !== this.channels.get(event.channel)?.muted) this.#change(event.channel, { muted: event.muted });
        this.#takeCursor(event);
        break;
      case "left":
        this.channels.delete(event.channel);
        delete this.#position?.channels[event.channel];
        this.#refresh();
        break;
      case "joined":
        if (this.#position) this.#position.channels[event.channel] = event.last_seq;
        this.#refresh();
        break;
      case "resync":
        this.#position = null;
        break;
    }
  }

  /** @param {any} snapshot @param {boolean} anew */
  #load(snapshot, anew) {
    this.#know(snapshot);
    const known = anew ? {} : (this.#position?.channels ?? {});
    this.#position = {
      channels: Object.fromEntries(snapshot.channels.map((/** @type {Channel} */ c) => [c.channel, known[c.channel] ?? c.last_seq])),
      projects: Object.fromEntries(snapshot.projects.map((/** @type {Project} */ p) => [p.project_id, p.version])),
    };
    this.#attempts = this.#refused = 0;
    this.#tell("open");
    this.#emit("snapshot", { anew });
  }

  /** @param {any} snapshot */
  #know(snapshot) {
    this.#known = Date.now();
    this.userId = snapshot.user_id;
    this.fullname = snapshot.fullname;
    this.projects = new Map(snapshot.projects.map((/** @type {Project} */ p) => [p.project_id, p]));
    this.channels = new Map(snapshot.channels.map((/** @type {Channel} */ c) => [c.channel, c]));
    this.#counted = new Map(snapshot.channels.map((/** @type {Channel} */ c) => [c.channel, c.last_seq]));
    this.#others.clear(); // they are counted
    this.#names.stale(); // there may be somebody new
  }

  // Memberships have changed: read a snapshot, while events continue.
  async #refresh() {
    this.#stale = true;
    if (this.#refreshing) return;
    this.#refreshing = true;
    while (this.#stale && this.state === "open") {
      this.#stale = false;
      const line = this.#line;
      try {
        const before = new Map([...this.channels].map(([name, c]) => [name, { ...c }]));
        const snapshot = await this.snapshot();
        if (line !== this.#line) continue; // the next connection brought its own, but may have told of something since
        if (this.#overtook(snapshot, before)) {
          this.#stale = true;
          await new Promise((resolve) => setTimeout(resolve, PAUSE));
        } else if (!this.#stale) {
          this.#know(snapshot);
          for (const p of snapshot.projects) if (this.#position) this.#position.projects[p.project_id] ??= p.version;
          this.#emit("snapshot", { anew: false });
        }
      } catch {
        if (line && line === this.#line) this.#lose(); // reconnects with a snapshot
      }
    }
    this.#refreshing = false;
  }

  // Whether an event, or an answer, that a snapshot does not include arrived while the snapshot was on its way.
  /** @param {any} snapshot @param {Map<string, Channel>} before */
  #overtook(snapshot, before) {
    /** @param {Channel} c */
    const changed = (c) => {
      const now = this.channels.get(c.channel) ?? c;
      const was = before.get(c.channel) ?? now;
      return (now.read_seq > c.read_seq && now.read_seq !== was.read_seq) || (now.muted !== c.muted && now.muted !== was.muted);
    };
    return (
      snapshot.channels.some((/** @type {Channel} */ c) => (this.#position?.channels[c.channel] ?? 0) > c.last_seq || changed(c)) ||
      snapshot.projects.some((/** @type {Project} */ p) => (this.projects.get(p.project_id)?.version ?? 0) > p.version)
    );
  }

  /** @param {Message} message */
  #takeMessage(message) {
    this.#names.learn(message.sender, message.fullname);
    const channel = this.channels.get(message.channel);
    if (this.#position) {
      if (message.seq <= (this.#position.channels[message.channel] ?? 0)) return;
      this.#position.channels[message.channel] = message.seq;
    }
    // After "resumed", the messages that follow are already counted in the snapshot.
    if (channel && message.seq > channel.last_seq) {
      channel.last_seq = message.seq;
      if (message.sender !== this.userId) {
        channel.unread++;
        if (!this.#others.get(message.channel)?.push(message.seq)) this.#others.set(message.channel, [message.seq]);
      } else if (channel.read_seq === message.seq - 1) channel.read_seq = message.seq;
      this.#emit("channel", { channel });
    }
    this.#emit("message", { message });
  }

  /** @param {any} event */
  #takeProgress(event) {
    const project = this.projects.get(event.project_id);
    // The user's own part may arrive after the shared part of the same version.
    if (!project || event.version < project.version || (event.version === project.version && !event.progress)) return;
    if (project.role === "customer") {
      // The user's own part is sent only when it has changed: otherwise it is kept and added to the shared part.
      const own = { done: project.progress.done - project.shared.done, total: project.progress.total - project.shared.total };
      const done = event.shared.done + own.done;
      const total = event.shared.total + own.total;
      project.progress = event.progress ?? { done, total, percent: total > 0 ? Math.floor((100 * done) / total) : 0 };
    }
    const { done, total } = project.shared;
    project.shared = event.shared;
    project.version = event.version;
    if (this.#position) this.#position.projects[event.project_id] = event.version;
    // Somebody has joined or left, or somebody else's bar has moved.
    if (project.role === "customer" && !event.progress && event.shared.done === done && event.shared.total === total) return;
    this.#emit("progress", { project });
  }

  // The cursor was read at another moment than the last message: messages received since are unread, too, and those not
  // received yet are already counted. A cursor read before the snapshot is included in it.
  /** @param {{channel: string, last_seq: number, read_seq: number, unread: number}} event */
  #takeCursor(event) {
    const channel = this.channels.get(event.channel);
    if (!channel || event.read_seq < channel.read_seq || event.last_seq < (this.#counted.get(event.channel) ?? 0)) return;
    const others = (this.#others.get(event.channel) ?? []).filter((seq) => seq > event.read_seq);
    this.#others.set(event.channel, others);
    const unread = event.unread + others.filter((seq) => seq > event.last_seq).length;
    this.#change(event.channel, { read_seq: event.read_seq, last_seq: Math.max(channel.last_seq, event.last_seq), unread });
  }

  /** @param {string} name @param {Partial<Channel>} change */
  #change(name, change) {
    const channel = this.channels.get(name);
    if (!channel) return;
    Object.assign(channel, change);
    this.#emit("channel", { channel });
  }

  /** Sends a request to the gateway. @param {string} method @param {string} path @param {object} [body] @returns {Promise<any>} */
  async request(method, path, body) {
    const session = this.#session;
    for (let attempt = 0; ; attempt++) {
      const token = this.#tokens.current();
      const response = await fetch(new URL(path, this.#url), {
        method,
        headers: { authorization: `Bearer ${await token}`, ...(body && { "content-type": "application/json" }) },
        body: body && JSON.stringify(body),
        signal: AbortSignal.timeout(REQUEST_TIMEOUT),
      });
      if (response.status === 401 && attempt === 0 && session === this.#session) {
        this.#tokens.forget(token); // it has expired: once more with a new one
        continue;
      }
      if (!response.ok) throw new HeadwayError(response.status, (await response.json().catch(() => null)) ?? {});
      const answer = await response.json(); // fails if it is cut off, or some proxy's page instead
      if (this.state === "waiting") this.#wake(); // the gateway is back
      if (this.#polling && method !== "GET") this.#poll(); // no event will tell of it
      return answer;
    }
  }

  /** Everything about the user, at this moment. */
  snapshot() {
    return this.request("GET", "api/snapshot");
  }

  /** The tasks of a customer, by default the user's own. @param {number} project @param {number} [user] @returns {Promise<Task[]>} */
  tasks(project, user) {
    return this.request("GET", `api/projects/${project}/tasks${user ? `?user_id=${user}` : ""}`);
  }

  /** The bars that the user may see: their own or, for staff, everybody's. @param {number} project @returns {Promise<(Bar & {user_id: number, fullname: string, version: number})[]>} */
  progress(project) {
    return this.request("GET", `api/projects/${project}/progress`);
  }

  /** Who is in a project. @param {number} project @returns {Promise<{user_id: number, fullname: string, role: string}[]>} */
  people(project) {
    return this.request("GET", `api/projects/${project}/people`);
  }

  /** Completes a task; staff do so for a customer. @param {number} task @param {number} [user] */
  complete(task, user) {
    return this.request("POST", `api/tasks/${task}/complete`, user ? { user_id: user } : undefined);
  }

  /** Reopens a task. @param {number} task @param {string} [reason] @param {number} [user] */
  reopen(task, reason, user) {
    return this.request("POST", `api/tasks/${task}/reopen`, { reason, ...(user && { user_id: user }) });
  }

  /** A page of a channel: the newest messages, or those before or after a given one. @param {string} channel @param {{after?: number, before?: number, limit?: number}} [page] @returns {Promise<Message[]>} */
  async messages(channel, page = {}) {
    const query = new URLSearchParams(Object.entries(page).filter(([, n]) => n !== undefined).map(([k, n]) => [k, String(n)]));
    const messages = await this.request("GET", `api/channels/${channel}/messages?${query}`);
    for (const { sender, fullname } of messages) this.#names.learn(sender, fullname);
    return messages;
  }

  /** Posts to a channel. @param {string} channel @param {string} content @returns {Promise<Message>} */
  post(channel, content) {
    return this.request("POST", `api/channels/${channel}/messages`, { content });
  }

  /** Marks a channel read, by default all of it. @param {string} channel @param {number} [through] */
  async markRead(channel, through) {
    const session = this.#session;
    const { read_seq } = await this.request("POST", `api/channels/${channel}/read`, { through_seq: through });
    if (session === this.#session) this.#marked(channel, read_seq);
    return read_seq;
  }

  /** Marks all channels read, as far as they are known here: what comes in the meantime stays unread. */
  async markAllRead() {
    const session = this.#session;
    const unread = [...this.channels.values()].filter((c) => c.unread > 0);
    const { read } = await this.request("POST", "api/read", { through: Object.fromEntries(unread.map((c) => [c.channel, c.last_seq])) });
    if (session !== this.#session) return;
    for (const [channel, read_seq] of Object.entries(read)) this.#marked(channel, read_seq);
  }

  // The gateway notifies all windows, but not at once if the database notifies nothing.
  /** @param {string} channel @param {number} read_seq */
  #marked(channel, read_seq) {
    const last_seq = this.channels.get(channel)?.last_seq ?? Infinity;
    if (read_seq >= last_seq) this.#takeCursor({ channel, last_seq, read_seq, unread: 0 });
  }

  // One after the other, whichever part of the page asks: the last change is the one to be kept, and what is read includes
  // those made before. What waits is not for somebody else who has signed in since.
  /** @param {string} method @param {string} path @param {object} [body] @returns {Promise<any>} */
  #inTurn(method, path, body) {
    const whose = this.userId;
    const answer = this.#settled.then(() => {
      if (whose && whose !== this.userId) throw new Error("somebody else has signed in");
      return this.request(method, path, body);
    });
    this.#settled = answer.catch(() => {});
    return answer;
  }

  /** Excludes a channel from the user's mail, or includes it again. @param {string} channel @param {boolean} muted */
  async mute(channel, muted) {
    const session = this.#session;
    await this.#inTurn("PUT", `api/channels/${channel}/muted`, { muted });
    if (session === this.#session) this.#change(channel, { muted });
  }

  /** The user's account, with mail preferences. @returns {Promise<Account>} */
  account() {
    return this.#inTurn("GET", "api/account");
  }

  /** Changes some of the user's mail preferences. @param {Partial<Preferences>} changes */
  async prefer(changes) {
    await this.#inTurn("PATCH", "api/account", { account: changes });
  }

  /**
   * The name of somebody in one of the user's projects, or an empty string if they have left.
   * @param {?number} user @param {?number} [project] where to look, by default everywhere
   * @returns {Promise<string>}
   */
  async name(user, project) {
    if (!user) return "";
    if (user === this.userId) return this.fullname;
    return this.#names.of(user, project ? [project] : [...this.projects.keys()]);
  }
}
