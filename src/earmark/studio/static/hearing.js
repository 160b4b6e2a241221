/** The two views that listen: with the project's model, and with the words. Only one can at a time, as they share
 * the microphone. */

export class Hearing {
  #listening;
  #words;
  #isProjectShown;
  /** Whose the scores are: the server says so before it sends them. */
  #scored;

  /**
   * @param {import("./listening.js").Listening} listening
   * @param {import("./words.js").Words} words
   * @param {() => boolean} isProjectShown rather than the words
   */
  constructor(listening, words, isProjectShown) {
    this.#listening = this.#scored = listening;
    this.#words = words;
    this.#isProjectShown = isProjectShown;
  }

  /** Ask the server for what the view that is shown wants. The one of the words needs its words in any case. */
  ask() {
    if (!this.#isProjectShown()) this.#words.ask();
    else if (this.#listening.isWanted) this.#listening.ask();
  }

  stop() {
    this.#listening.want(false);
    this.#words.want(false);
  }

  /** The connection is lost: what was under way is no more. */
  lose() {
    this.#words.lose();
    this.#listening.lose();
  }

  /** @param {any} message a `listening` message of the server */
  receive(message) {
    this.#scored = message.model === "words" ? this.#words : this.#listening;
    this.#scored.receive(message);
  }

  /** @param {import("./heard.js").Prediction[]} predictions */
  predict(predictions) {
    for (const prediction of predictions) this.#scored.predict(prediction);
  }

  /** @param {import("./stage.js").Detection} detection */
  detect(detection) {
    this.#scored.detect(detection);
  }
}
