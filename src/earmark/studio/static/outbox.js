/**
 * What the page sends: live sound in numbered chunks, and recordings, which are spans of these chunks.
 * A recording is held here until the server confirms that it is saved.
 */

import * as shelf from "./shelf.js";
import { encodeWav } from "./wav.js";

const HEADER_BYTES = 16;
const FLOAT32 = 1;
const ID_CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789";

/**
 * @typedef {object} Recording
 * @property {string} id
 * @property {string} project the id of the project that it was made for
 * @property {string} label
 * @property {number} rate samples a second
 * @property {number} first the number of its first chunk
 * @property {number|null} end the number after its last chunk, null while it runs
 * @property {ArrayBuffer[]} chunks as they are sent
 * @property {number} seconds
 * @property {number} examples as many as the server counts so far
 * @property {string|null} clip the server's name for it, once it is saved
 */

/** Dispatches `change` when a recording starts, ends, counts more examples or is gone. */
export class Outbox extends EventTarget {
  /** @type {Map<string, Recording>} */
  #recordings = new Map();
  /** @type {Recording|null} the one that runs */
  running = null;
  /** Whether this browser keeps finished recordings over a reload, as far as it was tried. */
  isKept = true;
  #next = 0;
  #live;

  /** @param {import("./live.js").Live} live */
  constructor(live) {
    super();
    this.#live = live;
  }

  /**
   * Take up what an earlier page left unsaved, and number the chunks of this page after it.
   * @param {string} project
   */
  async restore(project) {
    const held = await shelf.readAll().catch(() => []); // a browser may forbid its database; then nothing is held
    for (const recording of held) {
      this.#next = Math.max(this.#next, recording.end);
      if (recording.project === project) this.#recordings.set(recording.id, recording);
    }
    this.#changed();
  }

  /** The number of the next chunk. */
  get next() {
    return this.#next;
  }

  /** Recordings that would be lost if the page went now. */
  get unsaved() {
    return [...this.#recordings.values()].filter((recording) => !recording.clip);
  }

  /** @param {string} label @returns {number} examples that the project does not count yet */
  examples(label) {
    let sum = 0;
    for (const recording of this.#recordings.values()) if (recording.label === label) sum += recording.examples;
    return sum;
  }

  /** @param {import("./microphone.js").Chunk} chunk @param {number} rate */
  take({ samples, captured }, rate) {
    const message = pack(this.#next++, samples, captured);
    if (this.running) {
      this.running.chunks.push(message);
      this.running.seconds += samples.length / rate;
      this.#live.send(message);
    } else if (!this.#live.isCrowded) {
      this.#live.send(message);
    }
  }

  /** @param {string} project @param {string} label @param {number} rate */
  begin(project, label, rate) {
    const recording = {
      id: newId(),
      project,
      label,
      rate,
      first: this.#next,
      end: null,
      chunks: [],
      seconds: 0,
      examples: 0,
      clip: null,
    };
    this.running = recording;
    this.#recordings.set(recording.id, recording);
    this.#live.send(recordMessage(recording));
    this.#changed();
  }

  /** End the running recording and have it saved. */
  finish() {
    const recording = this.running;
    this.running = null;
    recording.end = this.#next;
    this.#live.send(stopMessage(recording));
    shelf.put(recording).then(
      () => (this.isKept = true),
      () => (this.isKept = false), // its database is full or forbidden; the recording is still held in memory
    );
    this.#changed();
  }

  /** End the running recording and forget it. */
  discard() {
    const { id } = this.running;
    this.running = null;
    this.#live.send({ type: "discard", recording: id });
    this.remove(id);
  }

  /** On a new connection, send every recording that is not known to be saved. */
  resend() {
    for (const recording of this.unsaved) this.#resend(recording);
  }

  /** @param {string} id */
  retry(id) {
    const recording = this.#recordings.get(id);
    if (recording) this.#resend(recording);
  }

  #resend(recording) {
    this.#live.send(recordMessage(recording));
    for (const chunk of recording.chunks) this.#live.send(chunk);
    if (recording.end !== null) this.#live.send(stopMessage(recording));
  }

  /** Labels got other names: their recordings are theirs still. @param {Map<string, string>} names new ones by old ones */
  rename(names) {
    for (const recording of this.#recordings.values()) recording.label = names.get(recording.label) ?? recording.label;
  }

  /** @param {string} id @param {number} examples */
  count(id, examples) {
    const recording = this.#recordings.get(id);
    if (!recording || recording.clip) return;
    recording.examples = examples;
    this.#changed();
  }

  /** The server has it: only its count is kept, until the project counts it. @param {string} id @param {string} clip */
  saved(id, clip) {
    const recording = this.#recordings.get(id);
    if (!recording) return;
    recording.clip = clip;
    recording.chunks = [];
    shelf.remove(id).catch(() => {});
    this.#changed();
  }

  /** A recording as a sound file. @param {string} id @returns {Blob} */
  file(id) {
    const { chunks, rate } = this.#recordings.get(id);
    return encodeWav(chunks.map((chunk) => new Float32Array(chunk, HEADER_BYTES)), rate);
  }

  /** Forget saved recordings that the project now counts. @param {Set<string>} clips */
  settle(clips) {
    for (const { id, clip } of this.#recordings.values()) if (clips.has(clip)) this.#recordings.delete(id);
  }

  /** @param {string} id @returns {Recording|undefined} */
  get(id) {
    return this.#recordings.get(id);
  }

  /** @param {string} id */
  remove(id) {
    this.#recordings.delete(id);
    shelf.remove(id).catch(() => {});
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}

function recordMessage({ id, label, rate, first }) {
  return { type: "record", recording: id, label, sample_rate: rate, first };
}

function stopMessage({ id, end }) {
  return { type: "stop", recording: id, end };
}

function pack(number, samples, captured) {
  const message = new ArrayBuffer(HEADER_BYTES + samples.byteLength);
  const header = new DataView(message);
  header.setUint32(0, number, true);
  header.setUint8(4, FLOAT32);
  header.setFloat64(8, captured, true);
  // Float32Array follows the machine's byte order, which is little-endian wherever browsers run.
  new Float32Array(message, HEADER_BYTES).set(samples);
  return message;
}

function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return Array.from(bytes, (byte) => ID_CHARACTERS[byte % ID_CHARACTERS.length]).join("");
}
