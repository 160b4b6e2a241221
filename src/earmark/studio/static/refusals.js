/**
 * Recordings that the server could not save. One notice covers them all, so that they don't fill the page. It offers to
 * send them again, to download them as sound files, or to delete them. Closing the notice keeps the recordings: they
 * are sent again on the next connection, or by the next page.
 */

import { element } from "./dom.js";
import { showNotice } from "./notice.js";

const DOWNLOAD_STARTS = 10_000; // ms, at the latest

export class Refusals {
  #outbox;
  /** Why, by the recordings' ids. @type {Map<string, string>} */
  #errors = new Map();
  /** @type {ReturnType<typeof showNotice>|null} */
  #notice = null;

  /** @param {import("./outbox.js").Outbox} outbox */
  constructor(outbox) {
    this.#outbox = outbox;
  }

  /** @param {{recording: string, error: string}} message a `refused` message of the server */
  add({ recording, error }) {
    if (!this.#outbox.get(recording)) return;
    this.#outbox.count(recording, 0);
    this.#errors.set(recording, error);
    this.#show();
  }

  /** A recording is saved after all, or was never refused. @param {string} recording */
  remove(recording) {
    if (this.#errors.delete(recording)) this.#show();
  }

  #show() {
    const errors = [...this.#errors.values()];
    if (!errors.length) return this.#notice?.close();
    const isOne = errors.length === 1;
    const [text, details] = isOne ? [errors[0], []] : [`${errors.length} recordings can't be saved:`, errors];
    if (this.#notice?.retell(text, details)) return;
    const actions = [
      { text: "Try again", run: () => this.#take().forEach((id) => this.#outbox.retry(id)) },
      { text: "Download", run: () => [...this.#errors.keys()].forEach((id, i) => this.#download(id, i)), stays: true },
      { text: "Delete", run: () => this.#take().forEach((id) => this.#outbox.remove(id)) },
    ];
    this.#notice = showNotice(text, { isError: true, stays: true, keeps: true, details, actions });
  }

  /** The recordings that the notice tells of, which is closed. */
  #take() {
    const ids = [...this.#errors.keys()];
    this.#errors.clear();
    return ids;
  }

  /** @param {string} id @param {number} index among several */
  #download(id, index) {
    const address = URL.createObjectURL(this.#outbox.file(id));
    element("a", { href: address, download: index ? `recording-${index + 1}.wav` : "recording.wav" }).click();
    setTimeout(() => URL.revokeObjectURL(address), DOWNLOAD_STARTS);
  }
}
