/** The training panel: start, cancel, and what happens in between. */

import * as api from "./api.js";
import { byId, setText } from "./dom.js";
import { drawCurve } from "./curve.js";
import { notify, notifyError } from "./notice.js";

const percent = (share) => `${(100 * share).toFixed(1)}%`;

export class Training {
  #button = byId("train");
  #hint = byId("train-hint");
  #figure = byId("curve");
  #project;
  #display;
  #isRunning = false;
  /** @type {import("./api.js").Epoch[]} */
  #epochs = [];

  /** @param {import("./project.js").Project} project @param {import("./display.js").Display} display */
  constructor(project, display) {
    this.#project = project;
    this.#display = display;
    this.#button.addEventListener("click", () => this.#toggle());
  }

  /** @param {import("./api.js").ProjectState} state */
  update(state) {
    this.#isRunning = state.training.running;
    if (state.training.epochs.length >= this.#epochs.length || !this.#isRunning) this.#epochs = state.training.epochs;
    this.#show();
  }

  /** @param {any} message a `training` message of the server */
  receive(message) {
    this.#isRunning = ["started", "epoch"].includes(message.state);
    if (message.state === "started") this.#start();
    if (message.state === "epoch") this.#add(message);
    if (message.state === "done") this.#display.announce("Training is done.");
    if (message.state === "cancelled") notify("Training was cancelled. The model is as it was.");
    if (message.state === "failed") notifyError({ message: message.error });
    this.#show();
  }

  #start() {
    this.#epochs = [];
    this.#display.flash("Training…");
  }

  #add({ epoch, epochs, loss, accuracy }) {
    this.#epochs = [...this.#epochs.filter((other) => other.epoch < epoch), { epoch, epochs, loss, accuracy }];
    this.#display.flash(`Accuracy: ${percent(accuracy)} Epoch: ${epoch}`);
  }

  async #toggle() {
    try {
      await this.#project.change(this.#isRunning ? api.cancelTraining : api.startTraining);
    } catch (error) {
      notifyError(error);
    }
  }

  #show() {
    const obstacle = this.#isRunning ? "" : this.#obstacle();
    setText(this.#button, this.#isRunning ? "Cancel" : "Train");
    this.#button.disabled = obstacle !== "";
    setText(this.#hint, obstacle || this.#sentence());
    this.#figure.hidden = this.#epochs.length === 0;
    drawCurve(this.#figure, this.#epochs);
  }

  /** What keeps a training from starting, "" for nothing. */
  #obstacle() {
    const labels = this.#project.state?.labels ?? [];
    const filled = labels.filter((label) => label.examples > 0).length;
    return filled >= 2 ? "" : "Record at least two classes first.";
  }

  #sentence() {
    const last = this.#epochs.at(-1);
    const { model } = this.#project.state;
    if (this.#isRunning && last) return `Epoch ${last.epoch} of ${last.epochs}. Loss ${last.loss.toFixed(3)}.`;
    if (this.#isRunning) return "Preparing the examples…";
    if (model?.stale) return "The recordings changed. Train again.";
    return model ? modelSentence(model) : "Training takes a few seconds.";
  }
}

/** A model from elsewhere may come without figures. */
function modelSentence({ examples, accuracy, loss }) {
  const figures = [
    examples != null && `${examples} examples`,
    accuracy != null && `${percent(accuracy)} right`,
    loss != null && `loss ${loss.toFixed(2)}`,
  ];
  return figures.filter(Boolean).join(" · ");
}
