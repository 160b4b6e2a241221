/**
 * The words view: the pretrained recognizer on the microphone. The server decides which words were said, and when; this
 * view shows them.
 */

import { Chips } from "./chips.js";
import { byId, onPress, setText } from "./dom.js";
import { Stage } from "./stage.js";
import { Threshold } from "./threshold.js";

export class Words {
  /** Whether the user wants it, also while the connection is lost. */
  isWanted = false;
  #button = byId("listen-words");
  #chips = new Chips(byId("chips"), byId("other-words"));
  #stage = new Stage(
    { word: byId("word"), score: byId("word-score"), list: byId("detections"), empty: byId("no-detections") },
    (word) => this.#chips.light(word),
  );
  #threshold;
  #live;
  /** Questions that the server hasn't answered: an answer to an older one is no news. */
  #asked = 0;

  /**
   * @param {import("./live.js").Live} live
   * @param {() => void} wake asks for the microphone, without which there is nothing to listen to
   */
  constructor(live, wake) {
    this.#live = live;
    const press = (isWanted) => {
      if (!isWanted) wake();
      this.want(!isWanted);
    };
    onPress(this.#button, () => this.isWanted, press);
    this.#threshold = new Threshold(byId("threshold"), byId("threshold-value"), byId("chips"), live);
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
    const [on, threshold] = [this.isWanted, this.#threshold.value];
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

  /** @param {import("./stage.js").Detection} detection */
  detect(detection) {
    this.#stage.take(detection, this.isWanted);
  }

  /** Nothing is heard any more. */
  #quiet() {
    this.#stage.quiet();
    this.#chips.show([]);
  }

  #update() {
    setText(this.#button, this.isWanted ? "Stop" : "Listen");
    this.#button.classList.toggle("on", this.isWanted);
    byId("words-panel").classList.toggle("listening", this.isWanted);
    setText(byId("words-state"), this.isWanted ? "Listening…" : "Press Listen, then speak.");
  }
}
