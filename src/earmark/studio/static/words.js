/**
 * The words view: the pretrained recognizer on the microphone. What is a word, and when, the server decides; here it is
 * shown.
 */

import { Chips, scoreText } from "./chips.js";
import { Detections } from "./detections.js";
import { byId, element, setText } from "./dom.js";

const LINGER = 1_200; // ms for which a word can still be read after it has ended

/**
 * @typedef {object} Detection
 * @property {number} detection its number, the same until it has ended
 * @property {string} label
 * @property {number} score its highest so far
 * @property {boolean} ended
 * @property {number} captured when its end so far was heard, in ms since 1970
 */

export class Words {
  /** Whether the user wants it, also while the connection is lost. */
  isWanted = false;
  #button = byId("listen-words");
  #threshold = byId("threshold");
  #word = byId("word");
  #score = byId("word-score");
  #chips = new Chips(byId("chips"), byId("other-words"));
  #detections = new Detections(byId("detections"), byId("no-detections"));
  #live;
  /** Questions that the server hasn't answered: an answer to an older one is no news. */
  #asked = 0;
  #lingering = 0;

  /**
   * @param {import("./live.js").Live} live
   * @param {() => void} wake asks for the microphone, without which there is nothing to listen to
   */
  constructor(live, wake) {
    this.#live = live;
    this.#button.addEventListener("click", () => {
      if (!this.isWanted) wake();
      this.want(!this.isWanted);
    });
    this.#threshold.addEventListener("input", () => this.#changeThreshold());
    this.#showThreshold();
  }

  /** @param {boolean} isWanted */
  want(isWanted) {
    if (isWanted === this.isWanted) return;
    this.isWanted = isWanted;
    this.ask();
    this.#update();
  }

  /** Tell the server what is wanted. It answers with its words in any case. */
  ask() {
    if (!this.#live.isOpen) return;
    this.#asked++;
    const [on, threshold] = [this.isWanted, this.#threshold.valueAsNumber];
    this.#live.send({ type: "listen", model: "words", on, probability_threshold: threshold });
  }

  /** The connection is lost: what was asked or under way is no more. */
  lose() {
    this.#asked = 0;
    this.#quiet();
  }

  /** @param {{on: boolean, labels?: string[]}} message */
  receive({ on, labels = [] }) {
    this.#asked = Math.max(0, this.#asked - 1);
    if (labels.length) this.#chips.build(labels);
    if (this.#asked > 0) return;
    this.isWanted = on;
    if (!on) this.#quiet();
    this.#update();
  }

  /** @param {import("./heard.js").Prediction} prediction */
  predict({ scores }) {
    if (this.isWanted) this.#chips.show(scores);
  }

  /** @param {Detection} detection */
  detect(detection) {
    const isNew = this.#detections.take(detection);
    if (!this.isWanted) return;
    clearTimeout(this.#lingering);
    this.#show(detection, isNew);
    if (detection.ended) this.#lingering = setTimeout(() => this.#clear(), LINGER);
  }

  #show({ label, score, ended }, isNew) {
    // A new element even for the same word: a screen reader reads what is added.
    if (isNew) this.#word.replaceChildren(element("span", { textContent: label }));
    this.#word.classList.toggle("past", ended);
    setText(this.#score, scoreText(score));
    this.#chips.light(ended ? null : label);
  }

  #clear() {
    this.#word.replaceChildren();
    setText(this.#score, "");
    this.#chips.light(null);
  }

  /** Nothing is heard any more. */
  #quiet() {
    clearTimeout(this.#lingering);
    this.#detections.end();
    this.#clear();
    this.#chips.show([]);
  }

  #changeThreshold() {
    this.#showThreshold();
    this.#live.send({ type: "threshold", probability_threshold: this.#threshold.valueAsNumber });
  }

  #showThreshold() {
    const text = this.#threshold.valueAsNumber.toFixed(2);
    setText(byId("threshold-value"), text);
    byId("chips").style.setProperty("--threshold", text);
  }

  #update() {
    setText(this.#button, this.isWanted ? "Stop" : "Listen");
    this.#button.classList.toggle("on", this.isWanted);
    byId("words-panel").classList.toggle("listening", this.isWanted);
    setText(byId("words-state"), this.isWanted ? "Listening…" : "Press Listen, then speak.");
  }
}
