/** How much has been collected, on the status line. The line also shows training and listening, so a count is shown
 * only when it is new. */

import { counted } from "./dom.js";
import { unit } from "./labels.js";

export class Count {
  /** What was shown last. */
  text = "";
  #project;
  #outbox;
  #recorder;
  #display;

  /**
   * @param {import("./project.js").Project} project
   * @param {import("./outbox.js").Outbox} outbox
   * @param {import("./recorder.js").Recorder} recorder
   * @param {import("./display.js").Display} display
   */
  constructor(project, outbox, recorder, display) {
    this.#project = project;
    this.#outbox = outbox;
    this.#recorder = recorder;
    this.#display = display;
  }

  update() {
    const { state } = this.#project;
    if (!state) return;
    const count = state.labels.reduce((sum, { name, examples }) => sum + examples + this.#outbox.examples(name), 0);
    const text = `${counted(count, unit(state))} collected`;
    if (text === this.text) return;
    this.text = text;
    // A screen reader's voice would be recorded.
    if (this.#recorder.label === null) this.#display.show(text);
    else this.#display.showSilently(text);
  }
}
