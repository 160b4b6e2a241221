// node make.mjs < jobs.json
// Makes models of random weights, saves each and writes its scores. A job is
//   {topology, seed, folder, windows, frames, bins, scores}
// where `topology` is {class_name, config} as Keras writes it; the last five are as for run.mjs.
import { readFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs";
import { saveModel, writeScores } from "./files.mjs";

// Numbers from 0 to 1: mulberry32, which is public domain.
function uniform(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

// Kernels keep the size of what goes through them (He et al. 2015), so that scores neither vanish nor saturate.
function randomWeight({ name, shape }, random) {
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const inputs = shape.slice(0, name.includes("depthwise_kernel") ? 2 : -1).reduce((a, b) => a * b, 1);
  const one = /variance/.test(name)
    ? () => 0.5 + random()
    : /gamma/.test(name)
      ? () => 1 + 0.3 * normal()
      : /kernel/.test(name)
        ? () => normal() * Math.sqrt(2 / inputs)
        : () => 0.2 * normal();
  const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, one);
  return tf.tensor(values, shape);
}

async function make(job) {
  const model = await tf.models.modelFromJSON({ modelTopology: job.topology });
  const random = uniform(job.seed);
  model.setWeights(model.weights.map((weight) => randomWeight(weight, random)));
  await saveModel(model, job.folder, job.shardBytes);
  writeScores(model, job.windows, job.frames, job.bins, job.scores);
  model.dispose();
}

for (const job of JSON.parse(readFileSync(0))) {
  await make(job).catch((error) => {
    throw new Error(`${job.folder} can't be made`, { cause: error });
  });
}
