/**
 * Listening: the scores as they come, and the slider that the first two classes move.
 *
 * Other scripts can follow: each prediction is dispatched on `document` as a CustomEvent `earmark:prediction` with
 * `detail` {label, index, scores, time, captured, shown, value}. `time` is the end of the prediction in seconds of the
 * stream; `captured` and `shown` are when its sound was heard and when the slider had moved, in ms since 1970; `value`
 * is the slider's.
 */

import { byId, element, onceAFrame, setText } from "./dom.js";

const STEP = 0.1;
const LOWEST = 0;
const HIGHEST = 10;
const MEDIAN_OVER = 2_000; // ms

export class Listening {
  /** Whether the user wants it, also while the connection is lost. */
  isWanted = false;
  #button = byId("listen");
  #slider = byId("output");
  #bars = byId("scores");
  #latencyText = byId("latency");
  #project;
  #display;
  #live;
  /** @type {string[]} */
  #labels = [];
  /** @type {{shown: number, latency: number}[]} */
  #latencies = [];
  #scores = [];
  #schedule = onceAFrame(() => this.#draw());

  /**
   * @param {import("./project.js").Project} project
   * @param {import("./display.js").Display} display
   * @param {import("./live.js").Live} live
   * @param {() => void} wake asks for the microphone, without which there is nothing to listen to
   */
  constructor(project, display, live, wake) {
    this.#project = project;
    this.#display = display;
    this.#live = live;
    this.#button.addEventListener("click", () => {
      if (!this.isWanted) wake();
      this.want(!this.isWanted);
    });
  }

  /** @param {boolean} isWanted */
  want(isWanted) {
    if (isWanted === this.isWanted) return;
    this.isWanted = isWanted;
    this.ask();
    this.update();
  }

  /** Tell the server what is wanted. */
  ask() {
    this.#live.send({ type: "listen", on: this.isWanted });
  }

  /** @param {{on: boolean, labels?: string[]}} message */
  receive({ on, labels = [] }) {
    this.isWanted = on;
    this.#labels = on ? labels : [];
    this.#latencies = [];
    this.#buildBars();
    this.update();
  }

  /** @param {import("./heard.js").Prediction} prediction */
  predict({ scores, time, captured }) {
    if (!this.isWanted || this.#labels.length !== scores.length) return;
    const index = scores.indexOf(Math.max(...scores));
    const value = this.#moveSlider(index);
    const shown = performance.timeOrigin + performance.now();
    const label = this.#labels[index];
    document.dispatchEvent(
      new CustomEvent("earmark:prediction", { detail: { label, index, scores, time, captured, shown, value } }),
    );
    this.#display.flash(label);
    this.#remember(shown, shown - captured);
    this.#scores = scores;
    this.#schedule();
  }

  #moveSlider(index) {
    const direction = { 0: -1, 1: 1 }[index] ?? 0;
    const moved = Math.round((this.#slider.valueAsNumber + direction * STEP) * 10) / 10; // 0.1 has no exact float
    this.#slider.value = String(Math.min(HIGHEST, Math.max(LOWEST, moved)));
    return this.#slider.valueAsNumber;
  }

  #draw() {
    [...this.#bars.children].forEach((row, i) => {
      const score = this.#scores[i] ?? 0;
      row.querySelector(".fill").style.transform = `scaleX(${score})`;
      setText(row.querySelector(".percent"), `${Math.round(100 * score)}%`);
    });
    setText(this.#latencyText, this.#latencyNow());
  }

  #remember(shown, latency) {
    this.#latencies.push({ shown, latency });
    while (this.#latencies[0].shown < shown - MEDIAN_OVER) this.#latencies.shift();
  }

  #latencyNow() {
    if (this.#latencies.length === 0) return "";
    const sorted = this.#latencies.map(({ latency }) => latency).sort((a, b) => a - b);
    return `${Math.round(sorted[Math.floor(sorted.length / 2)])} ms from sound to slider`;
  }

  #buildBars() {
    this.#scores = [];
    this.#bars.replaceChildren(
      ...this.#labels.map((label) =>
        element(
          "li",
          {},
          element("span", { className: "score-label", textContent: label }),
          element("span", { className: "track" }, element("span", { className: "fill" })),
          element("span", { className: "percent", textContent: "0%" }),
        ),
      ),
    );
    this.#draw();
  }

  /** Show the button, the hint and the colours as the project has them now. */
  update() {
    const { model, labels = [] } = this.#project.state ?? {};
    setText(this.#button, this.isWanted ? "Stop" : "Listen");
    this.#button.disabled = !model && !this.isWanted;
    this.#button.classList.toggle("on", this.isWanted);
    const [low, high] = model?.labels ?? labels.map(({ name }) => name);
    setText(byId("listen-hint"), hint(model));
    setText(byId("slider-low"), low ?? "");
    setText(byId("slider-high"), high ?? "");
    [...this.#bars.children].forEach((row, i) =>
      row.style.setProperty("--label", model?.colours[i] ?? this.#project.colour(this.#labels[i])),
    );
  }
}

function hint(model) {
  if (!model) return "Train first. Then the studio can listen.";
  return model.stale ? "The studio listens as it was trained. Your classes or recordings changed since." : "";
}
