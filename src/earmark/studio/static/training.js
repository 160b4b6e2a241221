/** The training panel: start, cancel, and progress. */

import * as api from "./api.js";
import { byId, counted, onPress, setText, showProgress } from "./dom.js";
import { drawCurve } from "./curve.js";
import { isBaseUnfit } from "./labels.js";
import { notify, notifyError } from "./notice.js";

const UNDER_WAY = ["started", "progress", "epoch"];
const percent = (share) => `${(100 * share).toFixed(1)}%`;

export class Training {
  isRunning = false;
  #button = byId("train");
  #hint = byId("train-hint");
  #bar = byId("train-progress");
  #figure = byId("curve");
  #project;
  #display;
  #isEvaluating = false;
  /** @type {import("./api.js").Progress|null} */
  #progress = null;
  /** @type {import("./api.js").Epoch[]} */
  #epochs = [];

  /** @param {import("./project.js").Project} project @param {import("./display.js").Display} display */
  constructor(project, display) {
    this.#project = project;
    this.#display = display;
    onPress(this.#button, () => this.isRunning, (isRunning) => this.#toggle(isRunning));
  }

  /** @param {import("./api.js").ProjectState} state */
  update(state) {
    this.isRunning = state.training.running;
    this.#isEvaluating = state.evaluation.running;
    this.#progress = state.training.progress;
    if (state.training.epochs.length >= this.#epochs.length || !this.isRunning) this.#epochs = state.training.epochs;
    this.#show();
  }

  /** @param {any} message a `training` message of the server */
  receive(message) {
    this.isRunning = UNDER_WAY.includes(message.state);
    this.#progress = message.state === "progress" ? message : null;
    if (message.state === "started") this.#start();
    if (message.state === "epoch") this.#add(message);
    if (message.state === "done") this.#display.announce("Training is done.");
    if (message.state === "cancelled") notify("Training was cancelled. The model is as it was.");
    if (message.state === "failed") notifyError({ message: message.error });
    this.#show();
  }

  /** @param {boolean} isEvaluating which must end first */
  wait(isEvaluating) {
    this.#isEvaluating = isEvaluating;
    this.#show();
  }

  #start() {
    this.#epochs = [];
    this.#display.flash("Training…");
  }

  /** @param {import("./api.js").Epoch} message */
  #add({ epoch, epochs, loss, accuracy, validation_accuracy }) {
    const now = { epoch, epochs, loss, accuracy, validation_accuracy };
    this.#epochs = [...this.#epochs.filter((other) => other.epoch < epoch), now];
    this.#display.flash(`Accuracy: ${percent(accuracy)} Epoch: ${epoch}`);
  }

  /** @param {boolean} isRunning so that it is to be cancelled */
  async #toggle(isRunning) {
    try {
      await this.#project.change(isRunning ? api.cancelTraining : api.startTraining);
    } catch (error) {
      notifyError(error);
    }
  }

  #show() {
    const obstacle = this.isRunning ? "" : this.#obstacle();
    setText(this.#button, this.isRunning ? "Cancel" : "Train");
    this.#button.disabled = obstacle !== "";
    setText(this.#hint, obstacle || this.#sentence());
    showProgress(this.#bar, this.isRunning ? this.#progress : null);
    this.#figure.hidden = this.#epochs.length === 0;
    drawCurve(this.#figure, this.#epochs);
  }

  /** What keeps a training from starting, "" for nothing. */
  #obstacle() {
    const { labels = [], mode } = this.#project.state ?? {};
    if (this.#isEvaluating) return "The evaluation must end first.";
    const filled = labels.filter((label) => label.examples > 0).length;
    if (filled < (mode === "words" ? 1 : 2)) return `Record at least ${mode === "words" ? "one class" : "two classes"} first.`;
    return isBaseUnfit(this.#project.state) ? "Choose another base first." : "";
  }

  #sentence() {
    const last = this.#epochs.at(-1);
    const { model, base } = this.#project.state;
    if (this.isRunning && last) return epochSentence(last);
    if (this.isRunning) return "Preparing the examples…";
    if (model?.stale) return "The recordings changed. Train again.";
    if (model?.base && base !== "auto" && model.base !== base) return `This model was trained on ${model.base}. Train again for ${base}.`;
    return model ? modelSentence(model) : "Training takes a few seconds.";
  }
}

function epochSentence({ epoch, epochs, loss, validation_accuracy }) {
  const kept = validation_accuracy == null ? "" : ` Of recordings kept aside, ${percent(validation_accuracy)} right.`;
  return `Epoch ${epoch} of ${epochs}. Loss ${loss.toFixed(3)}.${kept}`;
}

/** A model from elsewhere may come without figures. */
function modelSentence({ examples, accuracy, loss, base, base_chosen_because: why }) {
  const figures = [
    examples != null && counted(examples, "example"),
    accuracy != null && `${percent(accuracy)} right`,
    loss != null && `loss ${loss.toFixed(2)}`,
  ];
  const chosen = why ? ` Base ${base}: ${why}` : "";
  return `${figures.filter(Boolean).join(" · ")}.${chosen}`;
}
