// The names of people, who are met in messages and in projects.

export class Names {
  #fetch;
  /** @type {Map<number, string>} */ #known = new Map();
  /** By project, when its people are known. @type {Map<number, Promise<void>>} */ #met = new Map();
  /** Who was looked for in vain. @type {Set<number>} */ #strangers = new Set();

  /** @param {(project: number) => Promise<{user_id: number, fullname: string}[]>} fetch returns the people of a project */
  constructor(fetch) {
    this.#fetch = fetch;
  }

  /** @param {?number} user @param {?string} [fullname] */
  learn(user, fullname) {
    if (user && fullname) this.#known.set(user, fullname);
  }

  /** Asks the projects again for anybody who is not known. */
  stale() {
    this.#met.clear();
    this.#strangers.clear();
  }

  /**
   * The name of somebody in one of these projects, or an empty string if they are in none.
   * @param {number} user @param {number[]} projects
   */
  async of(user, projects) {
    if (!this.#known.has(user)) await this.#meet(projects);
    if (!this.#known.has(user)) {
      // Joining a project is not announced: they may have joined since. That is looked up once for each of them.
      if (!this.#strangers.has(user)) for (const id of projects) this.#met.delete(id);
      this.#strangers.add(user);
      await this.#meet(projects);
    }
    return this.#known.get(user) ?? "";
  }

  /** Fetches the people of projects, once. @param {number[]} projects */
  async #meet(projects) {
    await Promise.all(projects.map((project) => {
      const met = this.#met.get(project) ?? this.#fetch(project).then(
        (people) => people.forEach((p) => this.learn(p.user_id, p.fullname)),
        () => void this.#met.delete(project),
      );
      this.#met.set(project, met);
      return met;
    }));
  }
}
