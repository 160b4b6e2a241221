/** The live spectrogram. It scrolls to the left, and a strip below it shows what was recorded. */

import { onceAFrame } from "./dom.js";
import { colour } from "./palette.js";
import { BINS, drawColumns } from "./spectrogram.js";

const COLUMN_WIDTH = 2; // CSS pixels a frame: an 800-pixel scope shows about 9 s
const KEPT = 2_048; // columns, enough for a very wide screen
const STRIP_HEIGHT = 5; // CSS pixels

export class Scope {
  #canvas;
  /** A ring of columns, one pixel each; the newest lies before `#end`. */
  #ring = new OffscreenCanvas(KEPT, BINS);
  #end = 0;
  /** @type {(string|null)[]} the colour of the recording that each column belongs to */
  #marks = new Array(KEPT).fill(null);
  #schedule = onceAFrame(() => this.#draw());
  /** @type {string|null} the colour of the recording that runs */
  mark = null;

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
    const context = this.#ring.getContext("2d");
    context.fillStyle = colour("night");
    context.fillRect(0, 0, KEPT, BINS);
    new ResizeObserver(() => this.#resize()).observe(canvas);
  }

  /** @param {Uint8Array} columns of the spectrogram, one after the other */
  add(columns) {
    const context = this.#ring.getContext("2d");
    for (let at = 0; at + BINS <= columns.length; at += BINS) {
      drawColumns(context, columns.subarray(at, at + BINS), this.#end);
      this.#marks[this.#end] = this.mark;
      this.#end = (this.#end + 1) % KEPT;
    }
    this.#schedule();
  }

  #resize() {
    const { clientWidth, clientHeight } = this.#canvas;
    this.#canvas.width = Math.round(clientWidth * devicePixelRatio);
    this.#canvas.height = Math.round(clientHeight * devicePixelRatio);
    this.#draw();
  }

  #draw() {
    const context = this.#canvas.getContext("2d");
    const { width, height } = this.#canvas;
    const step = COLUMN_WIDTH * devicePixelRatio;
    const shown = Math.min(KEPT, Math.ceil(width / step));
    const strip = STRIP_HEIGHT * devicePixelRatio;
    context.imageSmoothingEnabled = false;
    this.#drawSpan(context, this.#end - shown, this.#end, width - shown * step, step, height - strip);
    context.fillStyle = colour("night");
    context.fillRect(0, height - strip, width, strip);
    for (let back = 1; back <= shown; back++) {
      const mark = this.#marks[(this.#end - back + KEPT) % KEPT];
      if (!mark) continue;
      context.fillStyle = mark;
      context.fillRect(width - back * step, height - strip, step, strip);
    }
  }

  /** Draw columns `first` up to `end`; a negative `first` means that the span wraps around the ring. */
  #drawSpan(context, first, end, x, step, height) {
    if (first < 0) {
      this.#drawSpan(context, first + KEPT, KEPT, x, step, height);
      this.#drawSpan(context, 0, end, x - first * step, step, height);
    } else if (end > first) {
      context.drawImage(this.#ring, first, 0, end - first, BINS, x, 0, (end - first) * step, height);
    }
  }
}
