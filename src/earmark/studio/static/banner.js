/** The banner at the top: what keeps the page from working, and how many recordings are waiting for it to end. */

import { byId, counted, setText } from "./dom.js";

export class Banner {
  #node = byId("banner");
  #outbox;
  /** What keeps the page from working, "" if nothing does. */
  #trouble = "";

  /** @param {import("./outbox.js").Outbox} outbox */
  constructor(outbox) {
    this.#outbox = outbox;
    outbox.addEventListener("change", () => this.#show());
  }

  /** @param {string} trouble "" if there is none any more */
  tell(trouble) {
    this.#trouble = trouble;
    this.#show();
  }

  #show() {
    this.#node.hidden = !this.#trouble;
    if (!this.#trouble) return;
    const waiting = this.#outbox.unsaved.filter(({ end }) => end !== null).length;
    const count = waiting ? ` ${counted(waiting, "recording")} ${waiting === 1 ? "waits" : "wait"}.` : "";
    const warning = waiting && !this.#outbox.isKept ? " This browser can't keep them: leave the page open." : "";
    setText(this.#node, this.#trouble + count + warning);
  }
}
