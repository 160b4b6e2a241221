// TensorFlow.js' back ends in Node, and its models from their files.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import * as tf from "@tensorflow/tfjs";

export { tf };

// Starts cpu or wasm, and returns what it is: { backend, simd }. In Node wasm has no threads: TensorFlow.js' own flag
// WASM_HAS_MULTITHREAD_SUPPORT says so, and against it the back end doesn't start.
export async function startBackend(name) {
  tf.enableProdMode(); // without advice on standard output
  if (name === "wasm") {
    const wasm = await import("@tensorflow/tfjs-backend-wasm");
    const main = createRequire(import.meta.url).resolve("@tensorflow/tfjs-backend-wasm");
    wasm.setWasmPaths(`${dirname(main)}/`);
  }
  if (!(await tf.setBackend(name))) throw new Error(`TensorFlow.js has no back end ${name} here.`);
  return { backend: tf.getBackend(), simd: name === "wasm" && (await tf.env().getAsync("WASM_HAS_SIMD_SUPPORT")) };
}

// The weights that lie beside model.json are put together as the browser's loader does.
export function loadModel(folder) {
  const { modelTopology, weightsManifest } = JSON.parse(readFileSync(join(folder, "model.json")));
  const weightSpecs = weightsManifest.flatMap((group) => group.weights);
  const shards = weightsManifest.flatMap((group) => group.paths).map((path) => readFileSync(join(folder, path)));
  const weightData = new Uint8Array(Buffer.concat(shards)).buffer;
  return tf.loadLayersModel({ load: async () => ({ modelTopology, weightSpecs, weightData }) });
}
