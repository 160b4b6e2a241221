/** The status line. Screen readers read it aloud, but only now and then while it changes often. */

import { setText } from "./dom.js";

const SPOKEN_EVERY = 2_000; // ms

export class Display {
  #line;
  #announcer;
  #spokenAt = 0;
  #spoken = "";

  /** @param {HTMLElement} line @param {HTMLElement} announcer */
  constructor(line, announcer) {
    this.#line = line;
    this.#announcer = announcer;
  }

  /** Show a text that is worth reading aloud. @param {string} text */
  show(text) {
    this.#line.setAttribute("aria-live", "polite");
    setText(this.#line, text);
  }

  /** Show a text that is not to be read aloud. @param {string} text */
  showSilently(text) {
    this.#line.setAttribute("aria-live", "off");
    setText(this.#line, text);
  }

  /** Show a text that changes too often to be read aloud each time. @param {string} text */
  flash(text) {
    this.showSilently(text);
    if (text === this.#spoken || performance.now() - this.#spokenAt < SPOKEN_EVERY) return;
    this.announce(text);
  }

  /** Have a text read aloud that is not on the page. @param {string} text */
  announce(text) {
    this.#spoken = text;
    this.#spokenAt = performance.now();
    setText(this.#announcer, text);
  }
}
