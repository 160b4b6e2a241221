/** The WebSocket to the server. It reconnects by itself when the connection is lost. */

const FIRST_DELAY = 250; // ms
const LONGEST_DELAY = 5_000; // ms
const READY_PATIENCE = 10_000; // ms
const CROWDED = 1_000_000; // bytes that wait to be sent

/** Dispatches `open` when messages can be sent, and `lost` when no more. */
export class Live extends EventTarget {
  /** @type {(message: any) => void} */
  onmessage = () => {};
  /** What the server heard, see heard.js. @type {(heard: ArrayBuffer) => void} */
  onheard = () => {};
  /** @type {WebSocket|null} */
  #socket = null;
  #delay = FIRST_DELAY;
  #patience = 0;

  /** Only `close` leads here again, so there is never a second socket. */
  connect() {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/live`);
    socket.binaryType = "arraybuffer";
    socket.addEventListener("open", () => this.#open(socket));
    socket.addEventListener("message", ({ data }) => this.#receive(data));
    socket.addEventListener("close", () => this.#close());
    this.#socket = socket;
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Whether so much waits to be sent that new sound would only come too late. */
  get isCrowded() {
    return (this.#socket?.bufferedAmount ?? 0) > CROWDED;
  }

  /** @param {object|ArrayBuffer} message dropped while there is no connection */
  send(message) {
    if (!this.isOpen) return;
    this.#socket.send(message instanceof ArrayBuffer ? message : JSON.stringify(message));
  }

  #open(socket) {
    this.#patience = setTimeout(() => socket.close(), READY_PATIENCE);
    this.dispatchEvent(new Event("open"));
  }

  #receive(data) {
    if (data instanceof ArrayBuffer) {
      this.onheard(data);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "ready") {
      clearTimeout(this.#patience);
      this.#delay = FIRST_DELAY;
    }
    this.onmessage(message);
  }

  #close() {
    clearTimeout(this.#patience);
    this.dispatchEvent(new Event("lost"));
    setTimeout(() => this.connect(), this.#delay);
    this.#delay = Math.min(2 * this.#delay, LONGEST_DELAY);
  }
}
