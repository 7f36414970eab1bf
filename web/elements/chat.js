import { HeadwayElement, make, reader, sheet } from "./base.js";

/** @typedef {import("../headway.js").Message} Message */
/**
 * The last message sent, after which seq of the channel it comes, and its own if that is known; whether it is known to
 * be kept, and whether it is back in the input field.
 * @typedef {{content: string, after: number, seq: number, kept: boolean, back: boolean}} Sent
 */

// How many messages are read at a time.
const PAGE = 50;

// Messages from one person are grouped if no more than this many milliseconds lie between them.
const PIECE = 5 * 60_000;

// How many messages at least stay drawn while following a conversation: older ones can be loaded again.
const KEEP = 300;

// How often to check whether today's messages are now yesterday's, in milliseconds.
const DAY_CHECK = 60_000;

// How long until a failure to mark messages read is retried, in milliseconds.
const MARK_AGAIN = 5_000;

// How near the end a conversation counts as read to the end, in pixels.
const NEAR = 48;

/**
 * `<headway-chat channel="project_1">`: a channel, with a field to write in unless `readonly` is set. It is marked read
 * when its end is in view, in a window that has the focus.
 */
export class HeadwayChat extends HeadwayElement {
  static observedAttributes = ["channel", "readonly"];
  static sheets = [
    sheet(`
      :host { display: flex; flex-direction: column; block-size: var(--headway-chat-size, 32rem); }
      .log { display: flex; flex: 1 1 auto; flex-direction: column; min-block-size: 0; overflow-y: auto; overscroll-behavior: contain; padding: 0.25rem; position: relative; }
      .log.below { mask-image: linear-gradient(to bottom, transparent, #000 1.5rem); }
      .older { color: var(--accent); display: block; font-size: 0.875em; margin: 0.25rem auto 0.75rem; padding: 0.25rem 0.75rem; }
      .day:first-child { margin-block-start: 0; }
      .day { color: var(--quiet); font-size: 0.8125em; margin-block: 1.25rem 0.5rem; text-align: center; }
      .entry { display: flex; flex-direction: column; align-items: flex-start; margin-block-start: 0.875rem; }
      .entry.more { margin-block-start: 0.1875rem; }
      .entry.own { align-items: flex-end; }
      .who { color: var(--quiet); font-size: 0.8125em; margin-block-end: 0.1875rem; padding-inline: 0.25rem; }
      .more .who { display: none; }
      .own .by { display: none; }
      .text { background: var(--raised); border-radius: var(--radius); max-inline-size: min(85%, 36rem); overflow: clip; padding: 0.5rem 0.8125rem; white-space: pre-wrap; }
      .own .text { background: var(--accent); color: var(--on-accent); }
      @media print {
        :host { block-size: auto; }
        .log { flex: none; }
        .log.below { mask-image: none; }
      }
      @media (forced-colors: active) { .entry:not(.activity) .text { border: 1px solid; } }
      .activity { align-items: center; color: var(--quiet); font-size: 0.875em; text-align: center; }
      .activity .text { background: none; max-inline-size: 100%; padding-block: 0; }
      .activity.more { margin-block-start: 0.375rem; }
      :host([readonly]) .activity { align-items: flex-start; text-align: start; }
      :host([readonly]) .activity .text { padding-inline: 0.25rem; }
      .end { block-size: ${NEAR}px; flex: none; margin-block-start: -${NEAR}px; pointer-events: none; }
      .none { color: var(--quiet); margin-block: auto; padding-block: 2rem; text-align: center; }
      form { align-items: flex-end; display: flex; gap: 0.5rem; margin-block-start: 0.75rem; }
      textarea { background: var(--surface); border: 1px solid var(--field); border-radius: var(--radius); field-sizing: content; flex: 1; max-block-size: 10rem; min-block-size: 2.75rem; min-inline-size: 0; padding: 0.5625rem 0.8125rem; resize: none; }
      textarea::placeholder { color: var(--quiet); opacity: 1; }
      .send { background: var(--accent); color: var(--on-accent); font-weight: 600; min-block-size: 2.75rem; padding-inline: 1rem; }
      .send[aria-disabled="true"] { opacity: 0.6; }
    `),
  ];

  /**
   * By client, person and channel, the last input field that was shown, with what was typed and not sent, and whether a
   * message is being sent.
   * @type {WeakMap<import("./base.js").Headway, Map<string, {field: HTMLTextAreaElement, send: HTMLElement, alert: HTMLElement, sent: ?Sent, sending: boolean}>>}
   */
  #composers = new WeakMap();

  /** @type {HeadwayElement["start"]} */
  start(headway, { signal, on }) {
    const channel = this.getAttribute("channel");
    if (!channel) return;
    const older = make("button", { type: "button", class: "older", hidden: true });
    const list = make("div");
    const none = make("p", { class: "none", hidden: true });
    const end = make("div", { class: "end" });
    const log = make("div", { class: "log", role: "log", "aria-live": "off", tabIndex: 0 }, older, none, list, end);
    const { form, alert, recall, kept } = this.#composer(headway, channel);
    log.setAttribute("aria-label", this.say("conversation"));
    older.textContent = this.say("older");
    none.textContent = this.say("no_messages");
    this.root.append(log, form, alert);

    /** @type {Message[]} */ let known = [];
    /** @type {Map<?number, string>} */ const names = new Map();
    let loaded = false;
    const last = () => known.at(-1)?.seq ?? 0;
    /** Whether the end stays in view when messages arrive. */ let follow = true;
    /** Where it was scrolled to last. */ let top = 0;
    const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;
    const marker = this.#marker(headway, channel, signal, { end, last, atEnd });
    const toEnd = () => {
      if (follow) log.scrollTop = log.scrollHeight;
      top = log.scrollTop;
      marker.look();
    };

    // Read again from the current position: at the start, after a gap, and after a snapshot that left something out.
    const catchUp = reader(signal, async () => {
      const page = await headway.messages(channel, loaded ? { after: last(), limit: 500 } : { limit: PAGE });
      if (signal.aborted) return;
      const first = !loaded;
      loaded = true;
      await append(page, first);
      if (first) requestAnimationFrame(() => log.setAttribute("aria-live", "polite")); // earlier messages are not read out
      if (page.length && last() < (headway.channels.get(channel)?.last_seq ?? 0)) catchUp(); // there is more
    });

    /** @param {Message[]} messages @param {boolean} [jump] */
    const append = async (messages, jump = false) => {
      await this.#learn(names, headway, channel, messages);
      if (signal.aborted) return;
      if (log.scrollTop < top && !atEnd()) follow = false; // scrolled up in this very frame, which is told at its end
      const own = messages.filter((m) => m.seq > last() && m.sender === headway.userId && m.kind === "chat");
      if (jump || own.length) follow = true;
      own.forEach(kept);
      for (const message of messages) {
        if (message.seq <= last()) continue;
        list.append(...this.#entry(headway, message, known.at(-1), names));
        known.push(message);
      }
      if (follow && known.length > 2 * KEEP) redraw(known.slice(-KEEP));
      frame();
      toEnd();
    };

    // Redraws some of it, keeping the position. That is not to be read out.
    /** @param {Message[]} messages @param {(entries: HTMLElement[]) => void} place */
    const draw = (messages, place) => {
      const below = log.scrollHeight - log.scrollTop;
      log.setAttribute("aria-live", "off");
      place(messages.flatMap((m, i) => this.#entry(headway, m, messages[i - 1], names)));
      log.scrollTop = log.scrollHeight - below;
      requestAnimationFrame(() => log.setAttribute("aria-live", "polite"));
    };
    /** @param {Message[]} messages */
    const redraw = (messages) => draw((known = messages), (entries) => list.replaceChildren(...entries));

    // The first of the existing messages, under its day, may now belong to a group.
    /** @param {Message[]} messages */
    const prepend = (messages) => {
      draw([...messages, known[0]], (entries) => {
        for (const old of [...list.children].slice(0, 2)) old.remove();
        list.prepend(...entries);
      });
      known = [...messages, ...known];
    };

    const frame = () => {
      older.hidden = !loaded || (known[0]?.seq ?? 1) <= 1;
      none.hidden = !loaded || known.length > 0;
      form.hidden = this.hasAttribute("readonly") || !headway.channels.has(channel);
    };

    let reading = false;
    older.addEventListener("click", async () => {
      if (reading) return; // disabling the button would lose the focus
      reading = true;
      alert.textContent = "";
      try {
        const first = known[0].seq;
        const page = await headway.messages(channel, { before: first, limit: PAGE });
        await this.#learn(names, headway, channel, page);
        if (signal.aborted) return;
        if (page.length && known[0]?.seq === first) prepend(page); // unless it was shortened in the meantime
        const focused = this.root.activeElement === older; // and not, by now, the field
        frame();
        older.hidden ||= page.length === 0;
        if (older.hidden && focused) log.focus();
      } catch (error) {
        alert.textContent = this.failure(error);
      }
      reading = false;
    });

    const sizing = new ResizeObserver(toEnd);
    sizing.observe(log);
    sizing.observe(list);
    let today = new Date().toDateString();
    const midnight = setInterval(() => {
      const day = new Date().toDateString();
      if (day !== today) redraw(known);
      today = day;
    }, DAY_CHECK);
    signal.addEventListener("abort", () => {
      clearInterval(midnight);
      sizing.disconnect();
    });
    log.addEventListener("scroll", () => {
      // A change of size may scroll, too, but not up and away from the end: only the user does.
      follow = atEnd() || (follow && log.scrollTop >= top);
      top = log.scrollTop;
      log.classList.toggle("below", log.scrollTop > 0); // there is more above
      marker.mark();
    }, { passive: true });

    let queue = Promise.resolve();
    on("snapshot", ({ anew }) => {
      recall();
      if (anew && last() > (headway.channels.get(channel)?.last_seq ?? Infinity)) {
        loaded = false; // a failover has lost some of it
        marker.forget();
        redraw([]);
      }
      frame();
      marker.mark();
      if (headway.channels.has(channel) && (!loaded || (headway.channels.get(channel)?.last_seq ?? 0) > last())) catchUp();
    });
    on("message", ({ message }) => {
      if (message.channel !== channel) return;
      if (!loaded) return catchUp(); // it may have arrived after what is being read
      // One after the other, since names may have to be fetched.
      queue = queue.then(() => (message.seq > last() + 1 ? catchUp() : append([message])));
    });
    on("channel", ({ channel: changed }) => changed.channel === channel && marker.mark());
    if (headway.userId !== null) catchUp();
    frame();
  }

  /**
   * Marks a channel read while its end is in view, in a window that has the focus.
   * @param {import("./base.js").Headway} headway
   * @param {string} channel
   * @param {AbortSignal} signal
   * @param {{end: HTMLElement, last: () => number, atEnd: () => boolean}} log what is at its end, the seq of its last
   *   message, and whether it is scrolled there
   */
  #marker(headway, channel, signal, { end, last, atEnd }) {
    let inView = false;
    let marking = false;
    let marked = 0;
    const mark = async () => {
      const state = headway.channels.get(channel);
      const seen = inView && document.visibilityState === "visible" && document.hasFocus() && atEnd();
      const through = last();
      if (!seen || !state || headway.userId === null || marking || signal.aborted || state.unread === 0 || through <= Math.max(state.read_seq, marked)) return;
      marking = true;
      try {
        // The gateway notifies all windows, including this one.
        await headway.markRead(channel, through);
        marked = through;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, MARK_AGAIN));
      }
      marking = false;
      mark(); // something may have arrived in the meantime
    };
    const watching = new IntersectionObserver((entries) => {
      inView = entries[entries.length - 1].isIntersecting;
      mark();
    });
    watching.observe(end);
    signal.addEventListener("abort", () => watching.disconnect());
    addEventListener("focus", mark, { signal });
    document.addEventListener("visibilitychange", mark, { signal });
    return {
      mark,
      /** Has the end be out of view until that has been checked again. */
      look() {
        inView = false;
        watching.unobserve(end);
        watching.observe(end);
      },
      /** Numbers that were marked may be given again. */
      forget() {
        marked = 0;
      },
    };
  }

  /** @param {import("./base.js").Headway} headway @param {string} channel */
  #composer(headway, channel) {
    const composers = this.#composers.get(headway) ?? new Map();
    this.#composers.set(headway, composers);
    const field = make("textarea", { rows: 1, placeholder: this.say("write"), "aria-label": this.say("message") });
    const send = make("button", { class: "send" }, this.say("send"));
    const form = make("form", {}, field, send);
    const alert = make("p", { class: "alert", role: "alert" });
    const whose = () => `${headway.userId} ${channel}`;
    const recall = () => {
      if (headway.userId === null) return;
      const before = composers.get(whose());
      field.value ||= before?.field.value ?? "";
      composers.set(whose(), { field, send, alert, sent: before?.sent ?? null, sending: before?.sending ?? false });
      send.ariaDisabled = String(before?.sending ?? false);
    };
    recall();
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    });
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const content = field.value.trim();
      if (!content || send.ariaDisabled === "true" || headway.userId === null) return;
      alert.textContent = "";
      field.value = ""; // what is typed while this is being sent is the next message
      const sender = whose();
      recall();
      const composer = composers.get(sender);
      const after = Math.max(headway.channels.get(channel)?.last_seq ?? 0, composer.sent?.seq ?? 0);
      /** @type {Sent} */ const sent = { content, after, seq: 0, kept: false, back: false };
      composer.sent = sent;
      composer.sending = true;
      send.ariaDisabled = "true";
      try {
        sent.seq = (await headway.post(channel, content)).seq;
        sent.kept = true;
      } catch (error) {
        if (!sent.kept) {
          const shown = composers.get(sender); // a different one, if the user has switched in the meantime
          shown.field.value = [content, shown.field.value].filter(Boolean).join("\n");
          shown.alert.textContent = this.failure(error);
          sent.back = true;
        }
      }
      const shown = composers.get(sender);
      shown.sending = false;
      shown.send.ariaDisabled = "false";
    });
    // If the answer to a request was lost, the message itself shows that it was kept.
    /** @param {Message} message */
    const kept = (message) => {
      const shown = composers.get(whose());
      const sent = shown?.sent;
      if (!sent || sent.kept || message.content !== sent.content || message.seq <= sent.after) return;
      sent.kept = true;
      if (!sent.back) return;
      const rest = shown.field.value;
      if (rest === sent.content || rest.startsWith(`${sent.content}\n`)) shown.field.value = rest.slice(sent.content.length + 1);
      shown.alert.textContent = "";
    };
    return { form, alert, recall, kept };
  }

  /**
   * Fetches the names of everyone who sent the messages or is mentioned in them.
   * @param {Map<?number, string>} names @param {import("./base.js").Headway} headway @param {string} channel @param {Message[]} messages
   */
  async #learn(names, headway, channel, messages) {
    const project = headway.channels.get(channel)?.project_id;
    const people = new Set(messages.flatMap((m) => [m.sender, m.data?.user_id ?? null]));
    await Promise.all([...people].map(async (id) => names.set(id, (await headway.name(id, project)) || this.say("somebody"))));
  }

  /**
   * What to add for a message: itself and, if it is the first of a day, the day before it.
   * @param {import("./base.js").Headway} headway
   * @param {Message} message
   * @param {Message | undefined} previous
   * @param {Map<?number, string>} names
   */
  #entry(headway, message, previous, names) {
    const sent = new Date(message.sent_at);
    const before = previous && new Date(previous.sent_at);
    const newDay = sent.toDateString() !== before?.toDateString();
    const own = message.sender === headway.userId;
    const chat = message.kind === "chat";
    // A group is activity, or what one person says within a while.
    const goesOn = previous && before && !newDay && (previous.kind === "chat") === chat &&
      (!chat || (previous.sender === message.sender && +sent - +before < PIECE));

    const time = make("time", { dateTime: sent.toISOString() }, this.date(sent, { hour: "numeric", minute: "2-digit" }));
    const text = make("div", { class: "text", dir: chat ? "auto" : "" });
    const entry = make("div", { class: ["entry", chat ? "" : "activity", own && chat ? "own" : "", goesOn ? "more" : ""].join(" ") });
    if (chat) {
      const name = own ? this.say("you") : (names.get(message.sender) ?? "");
      // Hidden if the group already shows the name above: a screen reader needs it with each message.
      entry.append(make("div", { class: "who" }, make("span", { class: "by" }, make("bdi", {}, name), " · "), time), text);
      if (own || goesOn) entry.prepend(make("span", { class: "unseen" }, make("bdi", {}, name), ": "));
      text.textContent = message.content;
    } else {
      text.append(this.#activity(message, names), " · ", time);
      entry.append(text);
    }
    return newDay ? [make("div", { class: "day" }, this.#day(sent)), entry] : [entry];
  }

  /** The text of an activity message. @param {Message} message @param {Map<?number, string>} names */
  #activity({ kind, content, sender, data }, names) {
    const values = { name: names.get(sender) ?? "", title: data?.title ?? "", other: names.get(data?.user_id ?? null) ?? "" };
    const forOther = data?.user_id !== undefined && data.user_id !== sender;
    switch (kind) {
      case "task_completed":
        return this.say(forOther ? "task_completed_for" : "task_completed", values);
      case "task_reopened": {
        const what = this.say("task_reopened", values);
        return data?.reason ? this.say("because", { what, reason: data.reason }) : what;
      }
      case "task_assigned":
        return this.say("task_assigned", values);
      default:
        return content;
    }
  }

  /** @param {Date} day */
  #day(day) {
    const yesterday = new Date();
    yesterday.setDate(yesterday.getDate() - 1);
    if (day.toDateString() === new Date().toDateString()) return this.say("today");
    if (day.toDateString() === yesterday.toDateString()) return this.say("yesterday");
    return this.day(day, { weekday: "long" });
  }
}
