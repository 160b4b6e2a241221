/** Shows the word just heard, large, and the words before it. The server decides which words were said, and when. */

import { scoreText } from "./chips.js";
import { Detections } from "./detections.js";
import { element, setText } from "./dom.js";

const LINGER = 1_200; // ms for which a word can still be read after it has ended

/**
 * @typedef {object} Detection
 * @property {number} detection its number, the same until it has ended
 * @property {string} label
 * @property {number} score its highest so far
 * @property {boolean} ended
 * @property {number} captured when its end so far was heard, in ms since 1970
 */

export class Stage {
  #word;
  #score;
  #detections;
  #light;
  #lingering = 0;

  /**
   * @param {{word: HTMLElement, score: HTMLElement, list: HTMLElement, empty: HTMLElement}} parts
   * @param {(word: string|null) => void} [light] marks the word that is being heard elsewhere too
   */
  constructor({ word, score, list, empty }, light = () => {}) {
    this.#word = word;
    this.#score = score;
    this.#detections = new Detections(list, empty);
    this.#light = light;
  }

  /**
   * @param {Detection} detection
   * @param {boolean} isShown large, or only listed
   * @returns {boolean} whether it is a new one
   */
  take(detection, isShown) {
    const isNew = this.#detections.take(detection);
    if (!isShown) return isNew;
    clearTimeout(this.#lingering);
    this.#show(detection, isNew);
    if (detection.ended) this.#lingering = setTimeout(() => this.#clear(), LINGER);
    return isNew;
  }

  /** Nothing is heard any more. */
  quiet() {
    clearTimeout(this.#lingering);
    this.#detections.end();
    this.#clear();
  }

  #show({ label, score, ended }, isNew) {
    // A new element even for the same word: a screen reader reads what is added.
    if (isNew) this.#word.replaceChildren(element("span", { textContent: label }));
    this.#word.classList.toggle("past", ended);
    setText(this.#score, scoreText(score));
    this.#light(ended ? null : label);
  }

  #clear() {
    this.#word.replaceChildren();
    setText(this.#score, "");
    this.#light(null);
  }
}
