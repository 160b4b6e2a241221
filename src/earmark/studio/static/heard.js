/** Reads the server's binary message about a chunk of sound. docs/studio-protocol.md describes its layout. */

const HEADER_BYTES = 16;
const WINDOW_HEADER_BYTES = 16;
const SCORE_BYTES = 4;

/** @typedef {{scores: number[], time: number, captured: number}} Prediction */

/**
 * @param {ArrayBuffer} message
 * @returns {{predictions: Prediction[], columns: Uint8Array}} columns of the spectrogram, one after the other
 */
export function decode(message) {
  const view = new DataView(message);
  const windows = view.getUint16(10, true);
  const labels = view.getUint16(12, true);
  const predictions = [];
  let at = HEADER_BYTES;
  for (let i = 0; i < windows; i++) {
    const scores = Array.from({ length: labels }, (_, label) =>
      view.getFloat32(at + WINDOW_HEADER_BYTES + label * SCORE_BYTES, true),
    );
    predictions.push({ scores, time: view.getFloat64(at, true), captured: view.getFloat64(at + 8, true) });
    at += WINDOW_HEADER_BYTES + labels * SCORE_BYTES;
  }
  return { predictions, columns: new Uint8Array(message, at) };
}
