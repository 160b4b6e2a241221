/** The session with the server: keeps the project current, and repeats what each new connection needs. */

import { notifyError } from "./notice.js";

const USUAL_RATE = 48_000; // Hz, for a hello before the microphone is on
const RETRY_AFTER = 1_000; // ms

/**
 * @typedef {object} Parts of the page, which take part in it
 * @property {import("./live.js").Live} live
 * @property {import("./project.js").Project} project
 * @property {import("./microphone.js").Microphone} microphone
 * @property {import("./outbox.js").Outbox} outbox
 * @property {import("./hearing.js").Hearing} hearing
 * @property {import("./phones.js").Phones} phones
 * @property {import("./banner.js").Banner} banner
 */

export class Session {
  #parts;
  #saidRate = 0;

  /** @param {Parts} parts */
  constructor(parts) {
    this.#parts = parts;
    parts.live.addEventListener("open", () => this.#begin());
    parts.live.addEventListener("lost", () => this.#lose());
  }

  /** The first reading of the project, for as long as it takes. */
  async load() {
    try {
      await this.#parts.project.refresh();
    } catch (error) {
      if (error.isAnswer) this.#parts.banner.tell(error.message);
      else this.#lose();
      await new Promise((resolve) => setTimeout(resolve, RETRY_AFTER));
      await this.load();
    }
  }

  /** Fetch the project again. Where the server can't be reached, it is fetched when the connection comes back. */
  refresh() {
    return this.#parts.project.refresh().catch((error) => error.isAnswer && notifyError(error));
  }

  /** The microphone may have another rate now, which the server must know before it gets the sound. */
  followRate() {
    const { state, rate } = this.#parts.microphone;
    if (state === "on" && rate !== this.#saidRate) this.#sayHello();
  }

  #sayHello() {
    const { live, microphone, outbox } = this.#parts;
    this.#saidRate = microphone.rate || USUAL_RATE;
    live.send({ type: "hello", sample_rate: this.#saidRate, next: outbox.next });
  }

  async #begin() {
    const { project, outbox, hearing, banner } = this.#parts;
    const { id } = project.state;
    banner.tell("");
    this.#sayHello();
    hearing.ask();
    await this.refresh();
    // Another project may be served here now. What was recorded for the old one waits in this browser for it.
    if (project.state.id !== id) location.reload();
    else outbox.resend();
  }

  #lose() {
    const { hearing, phones, banner } = this.#parts;
    hearing.lose();
    if (phones.isPhone) phones.refresh(); // which shows the sign-in page where this phone was signed out
    banner.tell("Connection lost – your recordings are kept and will be sent again.");
  }
}
