/** The list of recent detections, newest first. A detection that still grows keeps its place. */

import { element, setText } from "./dom.js";
import { scoreText } from "./chips.js";

const MOST = 10;

export class Detections {
  #list;
  #empty;
  /** The one under way: its number and its row. @type {{number: number, row: HTMLElement}|null} */
  #open = null;

  /** @param {HTMLElement} list @param {HTMLElement} empty says that there is none yet */
  constructor(list, empty) {
    this.#list = list;
    this.#empty = empty;
  }

  /**
   * @param {import("./stage.js").Detection} detection
   * @returns {boolean} whether it is a new one
   */
  take({ detection: number, label, score, ended, captured }) {
    const isNew = number !== this.#open?.number;
    if (isNew) this.#open = { number, row: this.#add(label, new Date(captured)) };
    setText(this.#open.row.querySelector(".score"), scoreText(score));
    if (ended) this.end();
    return isNew;
  }

  /** The one under way, if any, has ended. The numbers of a new connection are others. */
  end() {
    this.#open = null;
  }

  #add(label, time) {
    const row = element(
      "li",
      {},
      element("span", { className: "heard-word", textContent: label }),
      element("span", { className: "score" }),
      element("time", { dateTime: time.toISOString(), textContent: time.toLocaleTimeString() }),
    );
    this.#list.prepend(row);
    while (this.#list.childElementCount > MOST) this.#list.lastElementChild.remove();
    this.#list.hidden = false;
    this.#empty.hidden = true;
    return row;
  }
}
