/** The words that can be recognized, each with its live score. */

import { element, onceAFrame, setText } from "./dom.js";

/** As a person would list them. A word that isn't here comes after these. */
const ORDER = "zero one two three four five six seven eight nine up down left right go stop yes no".split(" ");
const UNKNOWN = "_unknown_";

/** @param {string} label a reserved one is no word */
const isWord = (label) => !label.startsWith("_");
const rank = (label) => (ORDER.indexOf(label) + ORDER.length + 1) % (ORDER.length + 1);

/**
 * A score as it is compared with the threshold: cut, not rounded, so that none looks higher than it is.
 * @param {number} score
 */
export const scoreText = (score) => (Math.floor(100 * score) / 100).toFixed(2);

export class Chips {
  #list;
  #other;
  /** @type {string[]} in the order of the scores */
  #labels = [];
  /** @type {Map<string, HTMLElement>} */
  #chips = new Map();
  #scores = [];
  #schedule = onceAFrame(() => this.#draw());

  /** @param {HTMLElement} list @param {HTMLElement} other stands for all other words */
  constructor(list, other) {
    this.#list = list;
    this.#other = other;
  }

  /** @param {string[]} labels in the order of the scores */
  build(labels) {
    if (labels.join() === this.#labels.join()) return;
    this.#labels = labels;
    const words = labels.filter(isWord).sort((a, b) => rank(a) - rank(b));
    this.#chips = new Map(words.map((word) => [word, chip(word)]));
    this.#list.replaceChildren(...this.#chips.values());
    this.#other.hidden = !labels.includes(UNKNOWN);
    if (!this.#other.hidden) this.#chips.set(UNKNOWN, this.#other);
  }

  /** @param {number[]} scores of all labels; none put every chip out */
  show(scores) {
    this.#scores = scores;
    this.#schedule();
  }

  /** Mark the word that is being heard. @param {string|null} word */
  light(word) {
    for (const [label, chip] of this.#chips) chip.classList.toggle("on", label === word);
  }

  #draw() {
    for (const [label, chip] of this.#chips) {
      const score = this.#scores[this.#labels.indexOf(label)] ?? 0;
      chip.style.setProperty("--score", String(score));
      setText(chip.querySelector(".chip-score"), scoreText(score));
    }
  }
}

function chip(word) {
  const score = element("span", { className: "chip-score", textContent: scoreText(0) });
  return element("li", { className: "chip" }, element("span", { textContent: word }), score);
}
