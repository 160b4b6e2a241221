// node run.mjs (MODEL_FOLDER WINDOWS.f32 FRAMES BINS OUT.f32)...
// Scores by models that lie in folders; the windows are normalized.
import { loadModel, writeScores } from "./files.mjs";

const jobs = process.argv.slice(2);
while (jobs.length > 0) {
  const [folder, windows, frames, bins, out] = jobs.splice(0, 5);
  const model = await loadModel(folder);
  writeScores(model, windows, Number(frames), Number(bins), out);
  model.dispose();
}
