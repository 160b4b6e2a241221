/** Press and hold: by mouse, pen, touch or keyboard, one recording at a time. */

import { isTyping } from "./dom.js";

const SHORTEST = 0.15; // s; a shorter press is a slip of the finger
const HOLD_KEYS = new Set([" ", "Enter"]);

/**
 * Dispatches `short` when a press was too short to be meant, `discard` when the user throws a recording away, and `wait`
 * when a press begins or ceases to wait for the microphone, `early` if it ended before that was on.
 */
export class Recorder extends EventTarget {
  /** What holds the recording: only its release ends it. */
  #holder = "";
  /** The label of a press that waits until a recording can start. @type {string|null} */
  awaited = null;
  #outbox;
  #begin;

  /**
   * @param {import("./outbox.js").Outbox} outbox
   * @param {(label: string) => boolean} begin starts the recording if that is possible now, or sees to it that it will
   *   be, and then `resume` is called
   */
  constructor(outbox, begin) {
    super();
    this.#outbox = outbox;
    this.#begin = begin;
    addEventListener("blur", () => this.finish());
    addEventListener("pagehide", () => this.finish());
    document.addEventListener("visibilitychange", () => document.hidden && this.finish());
    document.addEventListener("keyup", (event) => this.#release(event.code));
    // Wherever it is let go: the button may have been moved from below the pointer, or be gone.
    for (const end of ["pointerup", "pointercancel"])
      document.addEventListener(end, (event) => /** @type {PointerEvent} */ (event).isPrimary && this.#release("pointer"));
    document.addEventListener("keydown", (event) => this.#escape(event), true);
  }

  /** The label that is being recorded. @returns {string|null} */
  get label() {
    return this.#outbox.running?.label ?? null;
  }

  /**
   * Make a button one to hold.
   * @param {HTMLButtonElement} button
   * @param {() => string} label
   */
  attach(button, label) {
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !event.isPrimary) return;
      button.setPointerCapture(event.pointerId);
      this.#press(label(), "pointer");
    });
    button.addEventListener("contextmenu", (event) => event.preventDefault()); // a long touch would open it
    this.#attachKeys(button, label);
  }

  #attachKeys(button, label) {
    button.addEventListener("keydown", (event) => {
      if (!HOLD_KEYS.has(event.key)) return;
      event.preventDefault();
      if (!event.repeat) this.#press(label(), event.code);
    });
    button.addEventListener("keyup", (event) => event.key === " " && event.preventDefault());
    // A click that no pointer or key made comes from assistive technology, which can't hold: it starts and stops.
    button.addEventListener("click", (event) => {
      if (event.detail !== 0) return;
      if (this.label !== null || this.awaited !== null) this.finish();
      else this.#press(label(), "click");
    });
  }

  /**
   * Let the digit keys hold the labels at their positions.
   * @param {(position: number) => string|undefined} labelAt position from 0
   */
  attachDigits(labelAt) {
    document.addEventListener("keydown", (event) => {
      const [, digit] = /^(?:Digit|Numpad)([1-9])$/.exec(event.code) ?? [];
      if (!digit || event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
      if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
      const label = labelAt(Number(digit) - 1);
      if (label !== undefined) this.#press(label, event.code);
    });
  }

  /**
   * Called after each chunk: end the recording before it grows too long.
   * @param {number} longest in seconds
   * @param {number} chunk in seconds
   */
  limit(longest, chunk) {
    if (this.label !== null && this.#outbox.running.seconds + chunk > longest) this.finish();
  }

  #press(label, holder) {
    if (this.label !== null || this.awaited !== null) return;
    this.#holder = holder;
    if (!this.#begin(label)) this.#wait(label);
  }

  #release(holder) {
    if (holder === this.#holder) this.finish();
  }

  /** Start what a press waits for, now that it may be possible. */
  resume() {
    if (this.awaited !== null && this.#begin(this.awaited)) this.#wait(null);
  }

  /** A recording can't be started after all: whoever waits for it is told why otherwise. */
  giveUp() {
    if (this.awaited !== null) this.#wait(null);
  }

  /** Labels got other names. @param {Map<string, string>} names new ones by old ones */
  rename(names) {
    if (this.awaited !== null) this.awaited = names.get(this.awaited) ?? this.awaited;
  }

  #wait(label) {
    this.awaited = label;
    this.dispatchEvent(new Event("wait"));
  }

  /** End the recording, whatever holds it, or the wait for it. */
  finish() {
    if (this.awaited !== null) {
      this.giveUp();
      this.dispatchEvent(new Event("early"));
    }
    if (this.label === null) return;
    if (this.#outbox.running.seconds < SHORTEST) return this.#discard("short");
    this.#outbox.finish();
  }

  #escape(event) {
    if (event.key !== "Escape" || (this.label === null && this.awaited === null)) return;
    event.preventDefault();
    event.stopPropagation();
    this.giveUp();
    if (this.label !== null) this.#discard("discard");
  }

  #discard(event) {
    this.#outbox.discard();
    this.dispatchEvent(new Event(event));
  }
}
