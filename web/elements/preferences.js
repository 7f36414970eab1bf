import { HeadwayElement, make, reader, sheet } from "./base.js";

/** @typedef {import("../headway.js").Account} Account */
/** @typedef {import("../headway.js").Preferences} Preferences */

// The delays for mail to choose from, in minutes.
const CHOICES = [15, 60, 4 * 60, 24 * 60, 3 * 24 * 60];

/**
 * `<headway-preferences>`: when the user gets mail, and about which channels. Every change is saved at once.
 */
export class HeadwayPreferences extends HeadwayElement {
  static sheets = [
    sheet(`
      .form { display: grid; gap: 1.25rem; }
      .field { display: grid; gap: 0.375rem; }
      label, legend { font-weight: 500; padding: 0; }
      fieldset { border: 0; margin: 0; min-inline-size: 0; padding: 0; }
      select, input[type="time"] { background: var(--surface); border: 1px solid var(--field); border-radius: var(--radius); inline-size: 100%; min-block-size: 2.75rem; min-inline-size: 0; padding-inline: 0.75rem; }
      .hours, .hours span { align-items: center; display: flex; gap: 0.625rem; }
      .hours { flex-wrap: wrap; margin-block-start: 0.375rem; }
      .hours input { flex: 1 1 6.5rem; inline-size: auto; }
      .hours span { flex: 1 1 9rem; white-space: nowrap; }
      .link { color: var(--accent); font-size: 0.875em; margin-block-start: 0.375rem; padding-block: 0.25rem; }
      .link:hover { text-decoration: underline; }
      li label { align-items: center; cursor: pointer; display: flex; font-weight: 400; gap: 0.75rem; min-block-size: 2.5rem; }
      input[type="checkbox"] { accent-color: var(--accent); block-size: 1.25rem; cursor: inherit; flex: none; inline-size: 1.25rem; margin: 0; }
      .end { min-block-size: 1.3125em; }
    `),
  ];

  /** @type {HeadwayElement["start"]} */
  start(headway, { signal, on }) {
    const about = make("p", { class: "quiet" });
    const after = make("select", { id: "after" });
    const from = make("input", { type: "time", "aria-label": this.say("quiet_from") });
    const until = make("input", { type: "time", "aria-label": this.say("quiet_until") });
    const always = make("button", { type: "button", class: "link" }, this.say("no_quiet_hours"));
    const zone = make("select", { id: "zone" });
    const channels = make("ul");
    const saved = make("p", { class: "quiet", role: "status" });
    const alert = make("p", { class: "alert", role: "alert" });
    const form = make("div", { class: "form" }, about,
      make("div", { class: "field" }, make("label", { htmlFor: after.id }, this.say("mail_after")), after),
      make("fieldset", {}, make("legend", {}, this.say("quiet_hours")), make("div", { class: "hours" }, from, make("span", {}, this.say("and"), until)), always),
      make("div", { class: "field" }, make("label", { htmlFor: zone.id }, this.say("time_zone")), zone),
      make("fieldset", {}, make("legend", {}, this.say("mail_about")), channels));

    let changes = 0;
    let saving = 0;
    const read = reader(signal, async () => {
      const before = changes;
      if (saving > 0) return; // a change reads again when it is done
      const account = await headway.account();
      if (signal.aborted || changes !== before) return;
      about.textContent = this.#address(account);
      fill(after, this.#intervals(account.digest_after));
      // Unless the user has entered only one of the two so far, or a part of one.
      if (!from.value === !until.value && !from.validity.badInput && !until.validity.badInput) {
        from.value = account.quiet_from?.slice(0, 5) ?? "";
        until.value = account.quiet_until?.slice(0, 5) ?? "";
      }
      always.hidden = !account.quiet_from;
      fill(zone, zones(account.time_zone));
      if (!form.isConnected) this.root.append(form, make("div", { class: "end" }, saved, alert));
    });

    /** @param {() => Promise<void>} change */
    const save = async (change) => {
      changes++;
      saving++;
      saved.textContent = alert.textContent = "";
      try {
        await change();
      } catch (error) {
        alert.textContent = this.failure(error);
      }
      if (--saving > 0) return;
      if (!alert.textContent) saved.textContent = this.say("saved");
      drawChannels();
      read();
    };
    /** @param {Partial<Preferences>} changes */
    const prefer = (changes) => save(() => headway.prefer(changes));

    after.addEventListener("change", () => prefer({ digest_after: after.value || null }));
    zone.addEventListener("change", () => prefer({ time_zone: zone.value }));
    // One without the other is incomplete.
    const hours = () => Boolean(from.value) === Boolean(until.value) && prefer({ quiet_from: from.value || null, quiet_until: until.value || null });
    from.addEventListener("change", hours);
    until.addEventListener("change", hours);
    always.addEventListener("click", () => {
      from.focus(); // this one is about to disappear
      prefer({ quiet_from: null, quiet_until: null });
    });

    /** @type {Map<string, HTMLInputElement>} */ const boxes = new Map();
    const drawChannels = () => {
      const known = [...headway.channels.values()];
      if (known.length !== boxes.size || known.some((c) => !boxes.has(c.channel))) {
        boxes.clear();
        channels.replaceChildren(...known.map(({ channel, muted }) => {
          const box = make("input", { type: "checkbox", checked: !muted });
          box.addEventListener("change", () => save(() => headway.mute(channel, !box.checked)));
          boxes.set(channel, box);
          return make("li", {}, make("label", {}, box, make("span")));
        }));
      }
      for (const channel of known) {
        const box = /** @type {HTMLInputElement} */ (boxes.get(channel.channel));
        if (saving === 0) box.checked = !channel.muted; // otherwise it is what the user wants it to be
        if (box.nextElementSibling) box.nextElementSibling.textContent = this.nameOf(channel);
      }
    };
    on("snapshot", () => {
      drawChannels();
      read();
    });
    on("channel", drawChannels);
    drawChannels();
    if (headway.userId !== null) read();
  }

  /** Where mail is sent. @param {Account} account */
  #address({ email, mail_suspended_at, mail_suspended_reason }) {
    if (!email) return this.say("mail_has_no_address");
    if (mail_suspended_at) return this.say("mail_suspended", { email, reason: mail_suspended_reason ?? "" });
    return this.say("mail_goes_to", { email });
  }

  /** The intervals to choose from, and the chosen one. @param {?string} chosen as PostgreSQL writes it */
  #intervals(chosen) {
    const now = minutes(chosen);
    const options = [new Option(this.say("mail_after_default"), "", false, chosen === null)];
    for (const count of CHOICES) options.push(new Option(this.#interval(count), `${count} minutes`, false, count === now));
    if (chosen !== null && !CHOICES.includes(now)) options.push(new Option(now ? this.#interval(now) : chosen, chosen, false, true));
    return options;
  }

  /** @param {number} count of minutes */
  #interval(count) {
    if (count % (24 * 60) === 0) return this.say("days", { count: count / (24 * 60) });
    if (count % 60 === 0) return this.say("hours", { count: count / 60 });
    return this.say("minutes", { count });
  }
}

/** Offers options, one of them chosen. What is offered already stays: an open list would close. @param {HTMLSelectElement} select @param {HTMLOptionElement[]} options */
function fill(select, options) {
  /** @param {Iterable<HTMLOptionElement>} offered */
  const values = (offered) => [...offered].map((o) => o.value).join("\n");
  if (values(options) !== values(select.options)) select.replaceChildren(...options);
  else select.selectedIndex = options.findIndex((o) => o.selected);
}

/** The length of a PostgreSQL interval in minutes; NaN if it is not a number of minutes. @param {?string} interval */
function minutes(interval) {
  const [, days, hours, rest] = interval?.match(/^(?:(\d+) days?)? ?(?:(\d+):(\d\d):00)?$/) ?? [];
  return interval && (days || hours) ? Number(days ?? 0) * 24 * 60 + Number(hours ?? 0) * 60 + Number(rest ?? 0) : NaN;
}

/** The time zones that the browser knows, starting with that of this device. @param {string} chosen */
function zones(chosen) {
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return [...new Set([here, chosen, ...Intl.supportedValuesOf("timeZone")])].map((name) => new Option(name.replaceAll("_", " "), name, false, name === chosen));
}
