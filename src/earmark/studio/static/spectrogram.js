/** Draws spectrograms: turns the server's bytes into pixels. */

import { readSpectrogram } from "./api.js";
import { colours } from "./palette.js";

/** Frequency bins of a column, lowest first: 0 to 5 kHz. */
export const BINS = 232;

const QUIET = 48; // bytes: about -101 dB, the floor of a silent room
const LOUD = 222; // bytes: about -33 dB

/** Pixels for each of the 256 byte values, as a canvas keeps them. */
const PIXELS = (() => {
  const stops = colours("levels").map((stop) => [1, 3, 5].map((at) => parseInt(stop.slice(at, at + 2), 16)));
  return Uint32Array.from({ length: 256 }, (_, byte) => {
    const along = Math.min(1, Math.max(0, (byte - QUIET) / (LOUD - QUIET))) * (stops.length - 1);
    const below = Math.min(Math.floor(along), stops.length - 2);
    const [r, g, b] = stops[below].map((low, i) => Math.round(low + (stops[below + 1][i] - low) * (along - below)));
    return (255 << 24) | (b << 16) | (g << 8) | r;
  });
})();

/**
 * Draw columns with the lowest frequency at the bottom.
 * @param {CanvasRenderingContext2D|OffscreenCanvasRenderingContext2D} context
 * @param {Uint8Array} bytes columns of 232
 * @param {number} [x] where the first column goes
 * @param {number} [fold] bins that share one row of pixels, by their loudest
 */
export function drawColumns(context, bytes, x = 0, fold = 1) {
  const columns = Math.floor(bytes.length / BINS);
  const rows = Math.floor(BINS / fold);
  if (columns === 0) return;
  const image = context.createImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  for (let column = 0; column < columns; column++) {
    for (let row = 0; row < rows; row++) {
      const bin = column * BINS + row * fold;
      let loudest = bytes[bin];
      for (let i = 1; i < fold; i++) loudest = Math.max(loudest, bytes[bin + i]);
      pixels[(rows - 1 - row) * columns + column] = PIXELS[loudest];
    }
  }
  context.putImageData(image, x, 0);
}

/**
 * Fetch a clip's spectrogram and draw it on a canvas, which takes one pixel a column.
 * @param {HTMLCanvasElement} canvas
 * @param {string} clip
 * @param {number} [fold]
 */
export async function drawClip(canvas, clip, fold = 1) {
  const bytes = await readSpectrogram(clip);
  canvas.width = Math.max(1, Math.floor(bytes.length / BINS));
  canvas.height = Math.floor(BINS / fold);
  drawColumns(canvas.getContext("2d"), bytes, 0, fold);
}
