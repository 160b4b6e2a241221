/** Writes sound as a WAV file of 32-bit floats, so every sample is kept exactly (RIFF, WAVE_FORMAT_IEEE_FLOAT). */

const HEADER_BYTES = 44;
const FLOAT = 3;
const SAMPLE_BYTES = 4;

/** @param {Float32Array[]} chunks @param {number} rate samples a second @returns {Blob} */
export function encodeWav(chunks, rate) {
  const bytes = SAMPLE_BYTES * chunks.reduce((sum, { length }) => sum + length, 0);
  const header = new DataView(new ArrayBuffer(HEADER_BYTES));
  text(header, 0, "RIFF");
  header.setUint32(4, HEADER_BYTES - 8 + bytes, true);
  text(header, 8, "WAVEfmt ");
  header.setUint32(16, 16, true); // bytes of the format
  header.setUint16(20, FLOAT, true);
  header.setUint16(22, 1, true); // channel
  header.setUint32(24, rate, true);
  header.setUint32(28, SAMPLE_BYTES * rate, true);
  header.setUint16(32, SAMPLE_BYTES, true);
  header.setUint16(34, 8 * SAMPLE_BYTES, true);
  text(header, 36, "data");
  header.setUint32(40, bytes, true);
  return new Blob([header, ...chunks], { type: "audio/wav" });
}

function text(view, at, characters) {
  for (let i = 0; i < characters.length; i++) view.setUint8(at + i, characters.charCodeAt(i));
}
