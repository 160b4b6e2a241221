// Models and arrays as files, with plain TensorFlow.js on its CPU backend.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs";

tf.enableProdMode(); // without advice on standard output
await tf.setBackend("cpu");

// Floats of the machine's own byte order, which is little-endian wherever Node runs.
export function readFloats(path) {
  return new Float32Array(new Uint8Array(readFileSync(path)).buffer);
}

// The weights that lie beside model.json are put together as the browser's loader does.
export function loadModel(folder) {
  const { modelTopology, weightsManifest } = JSON.parse(readFileSync(join(folder, "model.json")));
  const weightSpecs = weightsManifest.flatMap((group) => group.weights);
  const shards = weightsManifest.flatMap((group) => group.paths).map((path) => readFileSync(join(folder, path)));
  const weightData = new Uint8Array(Buffer.concat(shards)).buffer;
  return tf.loadLayersModel({ load: async () => ({ modelTopology, weightSpecs, weightData }) });
}

// As TensorFlow.js' own handlers write it: one group, here in shards of so many bytes.
export async function saveModel(model, folder, shardBytes = 4 << 20) {
  mkdirSync(folder, { recursive: true });
  const handler = async ({ modelTopology, weightSpecs, weightData }) => {
    const bytes = Buffer.from(tf.io.CompositeArrayBuffer.join(weightData));
    const count = Math.max(1, Math.ceil(bytes.length / shardBytes));
    const paths = Array.from({ length: count }, (_, i) => `group1-shard${i + 1}of${count}.bin`);
    paths.forEach((path, i) => writeFileSync(join(folder, path), bytes.subarray(i * shardBytes, (i + 1) * shardBytes)));
    const weightsManifest = [{ paths, weights: weightSpecs }];
    const whole = { format: "layers-model", generatedBy: `TensorFlow.js v${tf.version.tfjs}`, convertedBy: null };
    writeFileSync(join(folder, "model.json"), JSON.stringify({ ...whole, modelTopology, weightsManifest }));
    return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: "JSON" } };
  };
  await model.save(tf.io.withSaveHandler(handler));
}

// What the model's outputs are for windows [n, frames, bins] that lie in a file.
export function writeScores(model, windows, frames, bins, path) {
  const scores = tf.tidy(() => {
    const input = tf.tensor(readFloats(windows), [readFloats(windows).length / (frames * bins), frames, bins, 1]);
    return model.predict(input, { batchSize: 32 }).dataSync();
  });
  writeFileSync(path, Buffer.from(scores.buffer, scores.byteOffset, scores.byteLength));
}
