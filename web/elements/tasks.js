import { HeadwayElement, arrange, make, reader, sheet } from "./base.js";

// How many completed tasks are shown without being asked for.
const FEW = 8;

/**
 * `<headway-tasks project="1">`: what is left to do, and what is done. Customers see and tick off their own tasks; staff
 * see the customers, and choose one to do so for.
 */
export class HeadwayTasks extends HeadwayElement {
  static observedAttributes = ["project"];
  static sheets = [
    sheet(`
      h3 { color: var(--quiet); font-size: 0.8125em; font-weight: 600; margin-block: 1.5rem 0.5rem; }
      h3:first-child { margin-block-start: 0; }
      .none { color: var(--quiet); padding-block: 1.5rem; text-align: center; }
      details { margin-block-start: 1.5rem; }
      summary { color: var(--quiet); cursor: pointer; font-size: 0.8125em; }
      summary h3 { display: inline; font-size: inherit; }
      .tasks > li + li { border-block-start: 1px solid var(--line); }
      label { cursor: pointer; display: flex; gap: 0.875rem; padding-block: 0.75rem; }
      .blocked label { cursor: default; }
      input { accent-color: var(--accent); block-size: 1.25rem; cursor: inherit; flex: none; inline-size: 1.25rem; margin: 0.125rem 0 0; }
      .body { min-inline-size: 0; }
      .title { display: block; font-weight: 500; }
      .done .title, .blocked .title { color: var(--quiet); font-weight: 400; }
      .detail { display: block; }
      .notes { column-gap: 1.25em; display: flex; flex-wrap: wrap; overflow: clip; }
      .notes > * { margin-inline-start: -1.25em; padding-inline-start: 1.25em; position: relative; }
      .notes > *::before { content: "·" / ""; inline-size: 1.25em; inset-inline-start: 0; position: absolute; text-align: center; }
      .late { color: var(--warning); }
      .customers > li + li { border-block-start: 1px solid var(--line); }
      .customer { display: block; inline-size: 100%; padding-block: 0.875rem; }
      .customer .line { align-items: baseline; column-gap: 0.75rem; display: flex; flex-wrap: wrap; margin-block-end: 0.5rem; padding-inline-start: 1.25em; position: relative; }
      .customer .name { flex: 1 1 auto; font-weight: 500; }
      .customer .line::before { block-size: 0.4em; border: solid var(--quiet); border-width: 0 0.125em 0.125em 0; content: ""; inline-size: 0.4em; inset-block-start: 0.45em; inset-inline-start: 0; position: absolute; rotate: -45deg; transition: rotate 0.2s; }
      .customer:dir(rtl) .line::before { rotate: 135deg; }
      .customer[aria-expanded="true"] .line::before { rotate: 45deg; }
      .customer:hover .name { color: var(--accent); }
      .figures { font-variant-numeric: tabular-nums; }
      .panel { margin-inline-start: 1.125em; padding-block: 0.5rem 1.25rem; }
      .alert { background: var(--surface); inset-block-end: 0; position: sticky; }
    `),
  ];

  /** @type {HeadwayElement["start"]} */
  start(headway, life) {
    const project = this.number("project");
    const status = make("p", { class: "unseen", role: "status" });
    const alert = make("p", { class: "alert", role: "alert" });
    const place = make("div");
    /** @type {?string} */ let role = null;
    /** @type {() => void} */ let read = () => {};
    let stop = new AbortController();
    this.root.append(place, alert, status);

    const update = () => {
      const now = headway.projects.get(project)?.role ?? null;
      if (now !== role) {
        role = now;
        stop.abort(); // what is being read is for another role
        stop = new AbortController();
        const signal = AbortSignal.any([life.signal, stop.signal]);
        place.replaceChildren();
        if (role === "customer") read = this.#list(headway, signal, { project, place, status, alert });
        else if (role === "staff") read = this.#customers(headway, signal, { project, place, status, alert });
        else read = () => {};
      }
      read();
    };
    life.on("snapshot", update);
    life.on("progress", ({ project: changed }) => changed.project_id === project && read());
    // Assigned or reopened: the bar may not have changed.
    life.on("message", ({ message }) => message.task_id && message.data?.project_id === project && read());
    update();
  }

  /**
   * Shows the tasks of a customer, by default the user's own, and returns a function that reads them.
   * @param {import("./base.js").Headway} headway
   * @param {AbortSignal} signal
   * @param {{project: number, user?: number, place: HTMLElement, status: HTMLElement, alert: HTMLElement}} where
   */
  #list(headway, signal, { project, user, place, status, alert }) {
    const open = make("ul", { class: "tasks" });
    const done = make("ul", { class: "tasks" });
    const openTitle = make("h3", { id: `open-${user ?? 0}` });
    const doneTitle = make("h3", { id: `done-${user ?? 0}` });
    open.setAttribute("aria-labelledby", openTitle.id);
    done.setAttribute("aria-labelledby", doneTitle.id);
    const none = make("p", { class: "none", tabIndex: -1 });
    const past = make("details", {}, make("summary", {}, doneTitle), done);
    /** @type {Map<number, ReturnType<HeadwayTasks["row"]>>} */ const rows = new Map();
    let left = 0;
    let changes = 0;
    let changing = 0;

    const read = reader(signal, async () => {
      const before = changes;
      if (changing > 0) return; // a change reads again when it is done
      const tasks = await headway.tasks(project, user);
      if (signal.aborted || changes !== before) return; // it may be older than a tick
      const focused = this.root.activeElement;
      for (const task of tasks) {
        let row = rows.get(task.id);
        if (!row) rows.set(task.id, (row = this.row(`${user ?? 0}-${task.id}`, change)));
        row.draw(task, Boolean(headway.projects.get(project)?.archived_at));
      }
      /** @param {boolean} complete */
      const those = (complete) => tasks.filter((t) => t.complete === complete).map((t) => /** @type {any} */ (rows.get(t.id)).item);
      const waiting = (/** @type {import("../headway.js").Task} */ t) => Number(t.blocked_by.length > 0);
      tasks.sort((a, b) => waiting(a) - waiting(b)); // what can be done now comes first
      left = those(false).length;
      arrange(open, those(false));
      arrange(done, those(true));
      openTitle.textContent = this.say("open_tasks");
      doneTitle.textContent = this.say("done_tasks");
      none.textContent = this.say(tasks.length ? "no_open_tasks" : "no_tasks");
      none.hidden = left > 0;
      openTitle.hidden = left === 0;
      past.hidden = tasks.length === left;
      if (!open.isConnected) {
        past.open = tasks.length - left <= FEW;
        place.append(openTitle, none, open, past);
      }
      // A user who ticks off with the keyboard stays in place in the list.
      if (focused && this.root.activeElement !== focused && open.contains(focused)) {
        /** @type {HTMLElement} */ (focused).focus(); // others have moved around it
      } else if (focused && this.root.activeElement !== focused && place.contains(focused)) {
        const next = /** @type {?HTMLElement} */ (open.querySelector("input:enabled"));
        (next ?? none).focus();
      }
    }, { seen: true });

    const whose = headway.userId;
    /** @param {import("../headway.js").Task} task @param {boolean} complete */
    const change = async (task, complete) => {
      if (headway.userId !== whose) return false; // somebody else has signed in since
      alert.textContent = "";
      changes++;
      changing++;
      try {
        await (complete ? headway.complete(task.id, user) : headway.reopen(task.id, undefined, user));
        left = Math.max(0, left + (complete ? -1 : 1));
        status.textContent = complete ? this.say("now_done", { title: task.title, count: left }) : this.say("now_open", { title: task.title });
        return true;
      } catch (error) {
        alert.textContent = this.failure(error);
        return false;
      } finally {
        changing--;
        read();
      }
    };
    return read;
  }

  /**
   * A task in a list.
   * @param {string} id
   * @param {(task: import("../headway.js").Task, complete: boolean) => Promise<boolean>} change returns whether it was changed
   */
  row(id, change) {
    const box = make("input", { type: "checkbox" });
    const title = make("span", { class: "title", id: `title-${id}` });
    const detail = make("span", { class: "detail quiet" });
    const notes = make("span", { class: "notes quiet" });
    const about = make("span", { id: `about-${id}` }, detail, notes);
    const item = make("li", {}, make("label", {}, box, make("span", { class: "body" }, title, about)));
    box.setAttribute("aria-labelledby", title.id);
    box.setAttribute("aria-describedby", about.id);
    /** @type {?import("../headway.js").Task} */ let shown = null;
    let noted = "";
    let busy = false;
    /** What the user wants it to be, until that has been sent. @type {?boolean} */ let wanted = null;
    box.addEventListener("change", async () => {
      wanted = box.checked;
      if (busy) return;
      busy = true;
      while (shown && wanted !== null) {
        const complete = wanted;
        wanted = null;
        // It failed, and the next reading, which shows what it still is, may take long.
        if (!(await change(shown, complete)) && wanted === null) box.checked = shown.complete;
      }
      busy = false;
    });

    /** @param {import("../headway.js").Task} task @param {boolean} archived */
    const draw = (task, archived) => {
      shown = task;
      const blocked = !task.complete && task.blocked_by.length > 0;
      item.className = task.complete ? "done" : blocked ? "blocked" : "";
      title.textContent = task.title;
      detail.textContent = task.complete ? "" : (task.detail ?? "");
      box.checked = task.complete;
      box.disabled = blocked || archived;
      /** @type {HTMLElement[]} */ const said = [];
      if (blocked) {
        const quoted = task.blocked_by.map(({ title }) => this.say("quoted", { title }));
        said.push(make("span", {}, this.say("waits_for", { tasks: new Intl.ListFormat(this.language).format(quoted) })));
      }
      if (task.due_at && !task.complete) {
        const late = new Date(task.due_at) < new Date();
        const date = this.day(task.due_at);
        said.push(make("span", { class: late ? "late" : "" }, this.say(late ? "overdue" : "due", { date })));
      }
      if (task.shared && !task.complete) said.push(make("span", {}, this.say("shared_task")));
      if (task.weight > 1) said.push(make("span", {}, this.say("counts_as", { weight: task.weight })));
      // Only if something has changed: what is replaced while it is pressed is never clicked.
      const now = said.map((part) => part.outerHTML).join();
      if (now !== noted) notes.replaceChildren(...said.flatMap((part, i) => (i ? [" ", part] : [part])));
      noted = now;
    };
    return { item, draw };
  }

  /**
   * Shows the customers of a project and returns a function that reads them.
   * @param {import("./base.js").Headway} headway
   * @param {AbortSignal} signal
   * @param {{project: number, place: HTMLElement, status: HTMLElement, alert: HTMLElement}} where
   */
  #customers(headway, signal, { project, place, status, alert }) {
    const list = make("ul", { class: "customers" });
    const none = make("p", { class: "quiet" });
    /** @type {Map<number, ReturnType<HeadwayTasks["customer"]>>} */ const rows = new Map();
    list.setAttribute("aria-label", this.say("customers_list"));
    none.textContent = this.say("no_customers");

    /** @type {?{user: number, stop: AbortController, read: () => void}} */ let chosen = null;
    /** @param {number} user */
    const choose = (user) => {
      const again = chosen?.user === user;
      chosen?.stop.abort();
      chosen = null;
      for (const row of rows.values()) row.fold();
      const panel = rows.get(user)?.unfold;
      if (again || !panel) return;
      const stop = new AbortController();
      chosen = { user, stop, read: this.#list(headway, AbortSignal.any([signal, stop.signal]), { project, user, place: panel(), status, alert }) };
      chosen.read();
    };

    return reader(signal, async () => {
      const bars = await headway.progress(project);
      if (signal.aborted) return;
      for (const bar of bars) {
        let row = rows.get(bar.user_id);
        if (!row) rows.set(bar.user_id, (row = this.customer(bar.user_id, () => choose(bar.user_id))));
        row.draw(bar);
      }
      arrange(list, bars.map((bar) => /** @type {any} */ (rows.get(bar.user_id)).item));
      none.hidden = bars.length > 0;
      if (!list.isConnected) place.append(none, list);
      chosen?.read();
    }, { seen: true });
  }

  /** A customer in the list. @param {number} user @param {() => void} choose */
  customer(user, choose) {
    const name = make("span", { class: "name" });
    const figures = make("span", { class: "figures quiet" });
    const fill = make("div", { class: "fill" });
    const button = make("button", { type: "button", class: "customer", "aria-expanded": "false", onclick: choose },
      make("span", { class: "line" }, name, figures), make("div", { class: "track" }, fill));
    const panel = make("div", { class: "panel", id: `panel-${user}`, role: "group", hidden: true });
    button.setAttribute("aria-controls", panel.id);
    const item = make("li", {}, button, panel);

    /** @param {import("../headway.js").Bar & {fullname: string}} bar */
    const draw = (bar) => {
      name.textContent = bar.fullname;
      figures.textContent = bar.total ? `${this.share(bar)} · ${this.percent(bar.percent)}` : this.share(bar);
      fill.style.inlineSize = `${bar.percent}%`;
      panel.setAttribute("aria-label", this.say("tasks_of", { name: bar.fullname }));
    };
    const fold = () => {
      button.setAttribute("aria-expanded", "false");
      panel.hidden = true;
      panel.replaceChildren();
    };
    const unfold = () => {
      button.setAttribute("aria-expanded", "true");
      panel.hidden = false;
      return panel;
    };
    return { item, draw, fold, unfold };
  }
}
