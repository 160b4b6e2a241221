// How long TensorFlow.js takes for windows, and what it scores.
// Usage: node scores.mjs BACKEND MODEL_FOLDER WINDOWS FRAMES BINS OUT, where WINDOWS holds normalized floats.
// BACKEND is cpu or wasm. Prints one line of JSON: milliseconds a window, one at a time and in batches of 32, and
// what the back end is; writes the scores to OUT.
import { readFileSync, writeFileSync } from "node:fs";
import { loadModel, startBackend, tf } from "./backend.mjs";

const [backend, folder, file, frames, bins, out] = process.argv.slice(2);
const [rows, columns] = [frames, bins].map(Number);
const backEnd = await startBackend(backend);
const model = await loadModel(folder);
const floats = new Float32Array(new Uint8Array(readFileSync(file)).buffer);
const count = floats.length / (rows * columns);

// The windows in batches of that size; each batch's scores are read back, as a program does that acts on them.
function predictAll(size) {
  const scores = [];
  for (let at = 0; at < count; at += size) {
    const part = floats.subarray(at * rows * columns, Math.min(count, at + size) * rows * columns);
    const shape = [part.length / (rows * columns), rows, columns, 1];
    scores.push(tf.tidy(() => model.predict(tf.tensor4d(part, shape), { batchSize: size }).dataSync()));
  }
  return scores;
}

function milliseconds(size) {
  const start = performance.now();
  predictAll(size);
  return (performance.now() - start) / count;
}

const bytes = predictAll(32).map((part) => Buffer.from(part.buffer, part.byteOffset, part.byteLength));
writeFileSync(out, Buffer.concat(bytes));
predictAll(1); // the just-in-time compiler has seen both by now
console.log(JSON.stringify({ one: milliseconds(1), batch: milliseconds(32), ...backEnd }));
