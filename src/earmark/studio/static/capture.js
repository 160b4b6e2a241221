/** Records from the microphone: a press starts a recording once the microphone is on, and its sound goes into it. */

import { notify } from "./notice.js";
import { Recorder } from "./recorder.js";

export class Capture {
  /** What presses and releases do. */
  recorder;
  #microphone;
  #outbox;
  #project;
  #quiet;
  /** Whether chunks can be numbered: what an earlier page left unsaved is known. */
  #isReady = false;

  /**
   * @param {import("./microphone.js").Microphone} microphone
   * @param {import("./outbox.js").Outbox} outbox
   * @param {import("./project.js").Project} project
   * @param {() => void} quiet ends what else the page does with sound
   */
  constructor(microphone, outbox, project, quiet) {
    this.#microphone = microphone;
    this.#outbox = outbox;
    this.#project = project;
    this.#quiet = quiet;
    this.recorder = new Recorder(outbox, (label) => this.#begin(label));
    this.recorder.addEventListener("short", () => notify("Hold the button while you make the sound."));
    this.recorder.addEventListener("early", () =>
      notify("The microphone was not on yet. Hold the button until it is."),
    );
    this.recorder.addEventListener("discard", () => notify("Recording discarded."));
  }

  /** Before any sound: the numbers of recordings that an earlier page held must not be given again. */
  async restore() {
    await this.#outbox.restore(this.#project.state.id);
    this.#isReady = true;
    this.recorder.resume();
  }

  /** @param {import("./microphone.js").Chunk} chunk */
  take(chunk) {
    const { rate } = this.#microphone;
    this.#outbox.take(chunk, rate);
    this.recorder.limit(this.#project.state.limits.recording_seconds, chunk.samples.length / rate);
  }

  /** The microphone was turned on or off: what waited for it begins, and what needed it ends. */
  follow() {
    const { state, problem } = this.#microphone;
    if (state === "on") this.recorder.resume();
    else if (this.recorder.label !== null) this.recorder.finish();
    if (state !== "off" || this.recorder.awaited === null) return;
    this.recorder.giveUp();
    notify(problem, { isError: true });
  }

  /** Start a recording if that is possible now; else the microphone is turned on, and the press waits for it. */
  #begin(label) {
    const microphone = this.#microphone;
    if (microphone.isAsleep) microphone.wake();
    else if (microphone.state === "off") microphone.start();
    if (microphone.state !== "on" || microphone.isAsleep || !this.#isReady) return false;
    this.#quiet();
    this.#outbox.begin(this.#project.state.id, label, microphone.rate);
    return true;
  }
}
