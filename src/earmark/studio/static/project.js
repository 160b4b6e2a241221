/** The project as the server last described it. Dispatches `change` whenever the description is new. */

import { readProject } from "./api.js";
import { colour } from "./palette.js";

export class Project extends EventTarget {
  /** @type {import("./api.js").ProjectState|null} */
  state = null;
  /** What labels were called before the last change, and are called since. @type {Map<string, string>} */
  renamed = new Map();
  #started = 0;
  #shown = 0;
  /** @type {Promise<void>|null} */
  #reading = null;
  #again = false;

  /**
   * Run a request that answers with the project, and show the answer.
   * @param {() => Promise<import("./api.js").ProjectState>} request
   */
  async change(request) {
    const ticket = ++this.#started;
    const state = await request();
    // Answers may overtake one another; an older one tells of a project that is no more.
    if (ticket < this.#shown) return this.refresh();
    this.#shown = ticket;
    this.renamed = renamed(this.state?.labels ?? [], state.labels);
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }

  /** Fetch the project again. Calls that come while one is under way share the next one. */
  refresh() {
    this.#again = true;
    this.#reading ??= this.#read().finally(() => (this.#reading = null));
    return this.#reading;
  }

  async #read() {
    while (this.#again) {
      this.#again = false;
      await this.change(readProject);
    }
  }

  /** @param {string} name @returns {import("./api.js").Label|undefined} */
  label(name) {
    return this.state?.labels.find((label) => label.name === name);
  }

  /** @param {string} name a label may be gone while a model still knows it */
  colour(name) {
    return this.label(name)?.colour ?? colour("gone");
  }
}

/** @param {import("./api.js").Label[]} before @param {import("./api.js").Label[]} now @returns {Map<string, string>} */
function renamed(before, now) {
  const names = new Map(now.map(({ id, name }) => [id, name]));
  const others = before.filter(({ id, name }) => names.has(id) && names.get(id) !== name);
  return new Map(others.map(({ id, name }) => [name, names.get(id)]));
}
