/**
 * Listening with the project's model: shows the scores as they come. With short sounds, the first two classes move a
 * slider, window by window. With words, the server sends the detections.
 *
 * Other scripts can follow: each prediction is dispatched on `document` as a CustomEvent `earmark:prediction` with
 * `detail` {label, index, scores, time, captured, shown, value}. `time` is the end of the prediction in seconds of the
 * stream. `captured` is when its sound was captured and `shown` when the slider had moved, both in ms since 1970.
 * `value` is the slider's value.
 */

import { byId, element, onceAFrame, onPress, setText } from "./dom.js";
import { isReserved, labelName } from "./labels.js";
import { Stage } from "./stage.js";
import { Threshold } from "./threshold.js";

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
  #stage = new Stage({
    word: byId("heard-word"),
    score: byId("heard-score"),
    list: byId("heard-list"),
    empty: byId("heard-none"),
  });
  #threshold;
  /** The project's mode, "" before it is known. */
  #mode = "";
  #project;
  #display;
  #live;
  /** @type {string[]} */
  #labels = [];
  /** @type {{shown: number, latency: number}[]} */
  #latencies = [];
  #scores = [];
  /** Questions that the server hasn't answered: an answer to an older one is no news. */
  #asked = 0;
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
    this.#threshold = new Threshold(byId("project-threshold"), byId("project-threshold-value"), this.#bars, live);
    const press = (isWanted) => {
      if (!isWanted) wake();
      this.want(!isWanted);
      // The word that is heard would else be below the screen's edge.
      if (this.isWanted && this.#mode === "words") this.#button.scrollIntoView({ block: "start" });
    };
    onPress(this.#button, () => this.isWanted, press);
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
    if (!this.#live.isOpen) return;
    this.#asked++;
    const threshold = this.#mode === "words" ? { probability_threshold: this.#threshold.value } : {};
    this.#live.send({ type: "listen", on: this.isWanted, ...threshold });
  }

  /** @param {number} threshold from now on */
  use(threshold) {
    this.#threshold.value = threshold;
  }

  /** The connection is lost: what was under way is no more. */
  lose() {
    this.#asked = 0;
    this.#stage.quiet();
  }

  /** @param {{on: boolean, labels?: string[]}} message */
  receive({ on, labels = [] }) {
    this.#asked = Math.max(0, this.#asked - 1);
    if (this.#asked > 0) return;
    this.isWanted = on;
    this.#labels = on ? labels : [];
    this.#latencies = [];
    if (!on) this.#stage.quiet();
    this.#buildBars();
    this.update();
  }

  /** @param {import("./heard.js").Prediction} prediction */
  predict({ scores, time, captured }) {
    if (!this.isWanted || this.#labels.length !== scores.length) return;
    const index = scores.indexOf(Math.max(...scores));
    const value = this.#mode === "sounds" ? this.#moveSlider(index) : this.#slider.valueAsNumber;
    const shown = performance.timeOrigin + performance.now();
    const label = this.#labels[index];
    document.dispatchEvent(
      new CustomEvent("earmark:prediction", { detail: { label, index, scores, time, captured, shown, value } }),
    );
    if (this.#mode === "sounds") this.#display.flash(labelName(label));
    this.#remember(shown, shown - captured);
    this.#scores = scores;
    this.#schedule();
  }

  /** @param {import("./stage.js").Detection} detection */
  detect(detection) {
    const isNew = this.#stage.take(detection, this.isWanted);
    if (isNew && this.isWanted) this.#display.showSilently(detection.label); // the large word is read aloud
  }

  #moveSlider(index) {
    const direction = isReserved(this.#labels[index]) ? 0 : ({ 0: -1, 1: 1 }[index] ?? 0);
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
    const end = this.#mode === "sounds" ? "slider" : "score";
    return `${Math.round(sorted[Math.floor(sorted.length / 2)])} ms from sound to ${end}`;
  }

  #buildBars() {
    this.#scores = [];
    this.#bars.replaceChildren(
      ...this.#labels.map((label) =>
        element(
          "li",
          { className: isReserved(label) ? "reserved" : "" },
          element("span", { className: "score-label", textContent: labelName(label), title: labelName(label) }),
          element("span", { className: "track" }, element("span", { className: "fill" })),
          element("span", { className: "percent", textContent: "0%" }),
        ),
      ),
    );
    this.#draw();
  }

  /** Show the button, the hint and the colours as the project has them now. */
  update() {
    const { model, labels = [], mode = "" } = this.#project.state ?? {};
    this.#enter(mode);
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

  /** Show what belongs to the mode; listening for the other one ends. */
  #enter(mode) {
    if (mode === this.#mode) return;
    const isFirst = this.#mode === "";
    this.#mode = mode;
    for (const part of document.querySelectorAll("[data-mode]")) part.hidden = part.dataset.mode !== mode;
    this.#bars.classList.toggle("with-threshold", mode === "words");
    this.#stage.quiet();
    if (!isFirst) this.want(false);
  }
}

function hint(model) {
  if (!model) return "Train first. Then the studio can listen.";
  return model.stale ? "The studio listens as it was trained. Your classes or recordings changed since." : "";
}
