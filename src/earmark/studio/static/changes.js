/** Changes to the project. Each can be undone: from the notice about it, with a button, or with Ctrl+Z. */

import * as api from "./api.js";
import { byId, isTyping } from "./dom.js";
import { notify, notifyError } from "./notice.js";

export class Changes {
  #project;
  #isShown;
  #button = byId("undo");
  /** The notice that offers to undo, and what it would undo. */
  #offer = { step: null, close: () => {} };
  /** Ends when all that was to be undone so far is. */
  #undone = Promise.resolve();

  /** @param {import("./project.js").Project} project @param {() => boolean} isShown whether the project can be seen */
  constructor(project, isShown) {
    this.#project = project;
    this.#isShown = isShown;
    this.#button.addEventListener("click", () => this.#undo());
    document.addEventListener("keydown", (event) => this.#shortcut(event));
  }

  /** @param {import("./api.js").ProjectState} state */
  update(state) {
    if (state.undo_step !== this.#offer.step) this.#offer.close();
    this.#button.disabled = !state.undo;
    this.#button.title = state.undo ? `Undo: ${state.undo}` : "Nothing to undo";
  }

  /**
   * Change the project, or say why not.
   * @param {() => Promise<import("./api.js").ProjectState>} request
   * @returns {Promise<boolean>} whether it went well
   */
  async make(request) {
    try {
      await this.#project.change(request);
      return true;
    } catch (error) {
      notifyError(error);
      return false;
    }
  }

  /**
   * Change it, tell of it, and offer to undo it.
   * @param {() => Promise<import("./api.js").ProjectState>} request
   * @param {string} text
   */
  async makeAndTell(request, text) {
    this.#offer.close();
    if (!(await this.make(request))) return;
    const step = this.#project.state.undo_step;
    this.#offer = { step, close: notify(text, { actions: [{ text: "Undo", run: () => this.#undo(step) }] }) };
  }

  /**
   * Take back this step, or the last one that the page knows of. The server refuses if another change came after it.
   * @param {number} [step]
   */
  #undo(step) {
    this.#undone = this.#undone.then(() => {
      const meant = step ?? this.#project.state?.undo_step; // read when the undo before this one is through
      return meant && this.make(() => api.undo(meant));
    });
  }

  #shortcut(event) {
    if (!this.#isShown()) return; // nobody would see what was undone
    const isUndo = (event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z";
    if (!isUndo || isTyping(event.target) || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    this.#undo();
  }
}
