import { HeadwayElement, arrange, make, phrase, sheet } from "./base.js";

/**
 * `<headway-inbox>`: how much is unread, and where. Choosing a channel dispatches `headway-open` with the detail
 * `{channel, project_id}`; showing it is up to the page.
 */
export class HeadwayInbox extends HeadwayElement {
  static sheets = [
    sheet(`
      :host { display: inline-block; position: relative; }
      .open { align-items: center; border: 1px solid var(--line); display: flex; gap: 0.5rem; min-block-size: 2.25rem; padding-inline: 0.75rem; }
      .open:hover, .channel:hover { background: var(--raised); }
      .panel { background: var(--surface); border: 1px solid var(--line); border-radius: var(--radius); box-shadow: 0 0.75rem 2rem rgb(0 0 0 / 0.16); inline-size: max-content; inset-block-start: calc(100% + 0.5rem); inset-inline-end: 0; max-block-size: min(28rem, 70vh); max-inline-size: min(22rem, calc(100vw - 2rem)); min-inline-size: min(16rem, calc(100vw - 2rem)); overflow-y: auto; padding: 0.375rem; position: absolute; z-index: 10; }
      @media (max-width: 30rem) { .panel { inline-size: auto; inset-block-start: auto; inset-inline: 1rem; margin-block-start: 0.5rem; max-inline-size: none; position: fixed; } }
      @media (min-width: 30.01rem) { .panel.start { inset-inline: 0 auto; } }
      .channel, .all { align-items: center; display: flex; gap: 0.75rem; inline-size: 100%; justify-content: space-between; padding: 0.5rem 0.75rem; }
      .name { flex: 1; }
      .unread { font-weight: 600; }
      .channel .quiet { white-space: nowrap; }
      .all { color: var(--accent); font-size: 0.875em; }
      .all:disabled { color: var(--quiet); }
      .alert { padding-inline: 0.75rem; }
    `),
  ];

  /** @type {HeadwayElement["start"]} */
  start(headway, { signal, on }) {
    const badge = make("span", { class: "count", "aria-hidden": "true" });
    const button = make("button", { type: "button", class: "open", "aria-expanded": "false", "aria-controls": "panel" });
    button.append(make("span", { "aria-hidden": "true" }, this.say("inbox")), badge);
    const list = make("ul");
    const all = make("button", { type: "button", class: "all" });
    const alert = make("p", { class: "alert", role: "alert" });
    const panel = make("div", { class: "panel", id: "panel", role: "group", hidden: true }, list, all, alert);
    panel.setAttribute("aria-label", this.say("inbox"));
    this.root.append(button, panel);

    /** @param {boolean} open */
    const toggle = (open) => {
      panel.hidden = !open;
      button.setAttribute("aria-expanded", String(open));
    };
    /** @type {Map<string, ReturnType<HeadwayInbox["row"]>>} */ const rows = new Map();
    /** @param {string} name */
    const choose = (name) => {
      toggle(false);
      button.focus();
      const project_id = headway.channels.get(name)?.project_id ?? null;
      this.dispatchEvent(new CustomEvent("headway-open", { bubbles: true, composed: true, detail: { channel: name, project_id } }));
    };
    /** The channels that had something unread when the panel was opened: they come first, and stay there. */
    let first = new Set();
    const draw = () => {
      const count = [...headway.channels.values()].reduce((sum, c) => sum + c.unread, 0);
      badge.textContent = phrase("{count}", this.language, { count: this.counted(count) });
      badge.hidden = count === 0;
      button.setAttribute("aria-label", count ? this.say("inbox_unread", { count: this.counted(count) }) : this.say("inbox"));
      all.disabled = count === 0;
      all.textContent = this.say(count ? "mark_all_read" : "all_read");
      if (panel.hidden) return;
      const focused = /** @type {?HTMLElement} */ (this.root.activeElement)?.dataset.channel;
      for (const name of rows.keys()) if (!headway.channels.has(name)) rows.delete(name);
      for (const channel of headway.channels.values()) {
        let row = rows.get(channel.channel);
        if (!row) rows.set(channel.channel, (row = this.row(channel.channel, () => choose(channel.channel))));
        row.draw(channel);
      }
      // Rows stay: a button that is replaced while it is pressed is never clicked.
      const names = [...headway.channels.keys()].sort((a, b) => Number(first.has(b)) - Number(first.has(a)));
      arrange(list, names.map((name) => /** @type {any} */ (rows.get(name)).item));
      panel.classList.remove("start");
      const { left, right } = panel.getBoundingClientRect();
      panel.classList.toggle("start", left < 0 || right > document.documentElement.clientWidth);
      if (focused && this.root.activeElement !== rows.get(focused)?.button) rows.get(focused)?.button.focus(); // others have moved around it
    };
    button.addEventListener("click", () => {
      toggle(Boolean(panel.hidden));
      alert.textContent = "";
      first = new Set([...headway.channels.values()].filter((c) => c.unread > 0).map((c) => c.channel));
      draw();
    });
    all.addEventListener("click", async () => {
      button.focus(); // this one is about to be disabled
      alert.textContent = "";
      await headway.markAllRead().catch((error) => (alert.textContent = this.failure(error)));
    });
    this.root.addEventListener("keydown", (event) => {
      if (/** @type {KeyboardEvent} */ (event).key !== "Escape" || panel.hidden) return;
      toggle(false);
      button.focus();
    }, { signal });
    document.addEventListener("pointerdown", (event) => void (event.composedPath().includes(this) || toggle(false)), { signal });
    this.addEventListener("focusout", (event) => void (event.relatedTarget && event.relatedTarget !== this && toggle(false)), { signal });
    on("snapshot", draw);
    on("channel", draw);
    draw();
  }

  /** A channel in the list. @param {string} channel @param {() => void} open */
  row(channel, open) {
    const name = make("span");
    const muted = make("span", { class: "quiet" });
    const count = make("span", { class: "count" });
    const button = make("button", { type: "button", class: "channel", onclick: open }, name, muted, count);
    button.dataset.channel = channel;
    const item = make("li", {}, button);
    let drawn = "";

    /** @param {import("../headway.js").Channel} shown */
    const draw = (shown) => {
      const said = [this.nameOf(shown)];
      const now = [said[0], shown.unread, shown.muted].join();
      if (now === drawn) return; // of hundreds, one has changed, and formatting takes time
      drawn = now;
      name.className = shown.unread ? "name unread" : "name";
      name.textContent = said[0];
      muted.hidden = !shown.muted;
      muted.textContent = this.say("muted");
      if (shown.muted) said.push(this.say("muted"));
      count.hidden = !shown.unread;
      count.textContent = phrase("{count}", this.language, { count: this.counted(shown.unread) });
      if (shown.unread) said.push(this.say("unread", { count: this.counted(shown.unread) }));
      button.setAttribute("aria-label", said.join(", "));
    };
    return { item, button, draw };
  }
}
