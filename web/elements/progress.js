import { HeadwayElement, make, reader, sheet } from "./base.js";

/**
 * `<headway-progress project="1">`: a bar from 0 to 100 %. Customers see their own; staff see that of all customers or,
 * with `user="2"`, of one. Dispatches `headway-complete` when it becomes full while on display.
 */
export class HeadwayProgress extends HeadwayElement {
  static observedAttributes = ["project", "user"];
  static sheets = [
    sheet(`
      :host { --bar: var(--headway-bar-size, 0.75rem); }
      .line { align-items: baseline; display: flex; gap: 1rem; justify-content: space-between; margin-block-end: 0.5rem; }
      .percent { font-variant-numeric: tabular-nums; font-weight: 600; white-space: nowrap; }
      .full .text { color: var(--accent); font-weight: 600; }
      .full .text::after { content: " ✓" / ""; }
    `),
  ];

  /** @type {HeadwayElement["start"]} */
  start(headway, { signal, on }) {
    const project = this.number("project");
    const user = this.number("user");
    const text = make("span", { class: "text" });
    const percent = make("span", { class: "percent" });
    const fill = make("div", { class: "fill" });
    const bar = make("div", { class: "track", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" }, fill);
    const whole = make("div", {}, make("div", { class: "line", "aria-hidden": "true" }, text, percent), bar);
    let full = true; // nothing to celebrate at the start

    /** @param {string} name @param {import("../headway.js").Bar} shown */
    const draw = (name, shown) => {
      const said = this.share(shown);
      text.textContent = shown.customers === undefined ? said : `${said} · ${this.say("customers", { count: shown.customers })}`;
      percent.textContent = shown.total ? this.percent(shown.percent) : "";
      fill.style.inlineSize = `${shown.percent}%`;
      bar.setAttribute("aria-label", this.say("progress_of", { name }));
      bar.setAttribute("aria-valuenow", String(shown.percent));
      bar.setAttribute("aria-valuetext", shown.total ? `${said}, ${this.percent(shown.percent)}` : said);
      whole.classList.toggle("full", shown.percent === 100);
      if (shown.percent === 100 && !full) this.dispatchEvent(new CustomEvent("headway-complete", { bubbles: true, composed: true, detail: { project, user } }));
      full = shown.percent === 100;
      if (!whole.isConnected) this.root.append(whole);
    };

    // Staff are notified that a bar has moved, and ask which.
    const ask = reader(signal, async () => {
      const bars = (await headway.progress(project)).filter((b) => !user || b.user_id === user);
      const found = headway.projects.get(project);
      if (signal.aborted || found?.role !== "staff") return;
      const done = bars.reduce((sum, b) => sum + b.done, 0);
      const total = bars.reduce((sum, b) => sum + b.total, 0);
      const customers = user ? undefined : bars.length;
      draw(user && bars.length ? bars[0].fullname : found.name, { done, total, percent: total ? Math.floor((100 * done) / total) : 0, customers });
    });
    const update = () => {
      const found = headway.projects.get(project);
      if (!found) return whole.remove();
      if (found.role === "staff") return void ask();
      draw(found.name, found.progress);
    };
    on("snapshot", update);
    on("progress", ({ project: changed }) => changed.project_id === project && update());
    update();
  }
}
