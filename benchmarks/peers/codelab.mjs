// The codelab's training as its own library does it: TensorFlow.js.
// Usage: node codelab.mjs BACKEND EXAMPLES COUNT LABELS EPOCHS, where BACKEND is cpu or wasm, and EXAMPLES holds COUNT
// windows of 3 × 232 normalized floats and then COUNT labels as floats. Prints one line of JSON for each epoch, then the
// seconds that `fit` took.
import { readFileSync } from "node:fs";
import { startBackend, tf } from "./backend.mjs";

const [file, count, labels, epochs] = [process.argv[3], ...process.argv.slice(4).map(Number)];
const bytes = readFileSync(file);
const floats = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
await startBackend(process.argv[2]);

const xs = tf.tensor4d(floats.slice(0, count * 3 * 232), [count, 3, 232, 1]);
const ys = tf.oneHot(tf.tensor1d(Int32Array.from(floats.slice(count * 3 * 232)), "int32"), labels);
const model = tf.sequential();
model.add(tf.layers.depthwiseConv2d({ depthMultiplier: 8, kernelSize: [3, 3], activation: "relu", inputShape: [3, 232, 1] }));
model.add(tf.layers.maxPooling2d({ poolSize: [1, 2], strides: [2, 2] }));
model.add(tf.layers.flatten());
model.add(tf.layers.dense({ units: labels, activation: "softmax" }));
model.compile({ optimizer: tf.train.adam(0.01), loss: "categoricalCrossentropy", metrics: ["accuracy"] });

const fit = (rounds, report) => model.fit(xs, ys, { batchSize: 16, epochs: rounds, verbose: 0, callbacks: { onEpochEnd: report } });
const start = performance.now();
await fit(epochs, (epoch, { loss, acc }) => console.log(JSON.stringify({ epoch: epoch + 1, loss, accuracy: acc })));
console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000, parameters: model.countParams() }));
