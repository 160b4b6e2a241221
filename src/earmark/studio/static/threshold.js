/** The slider for the threshold: what a score must reach for a detection. */

import { setText } from "./dom.js";

export class Threshold {
  #slider;
  #text;
  #live;
  #bars;

  /**
   * @param {HTMLInputElement} slider
   * @param {HTMLElement} text shows its value
   * @param {HTMLElement} bars are marked where the threshold lies, by the property `--threshold`
   * @param {import("./live.js").Live} live
   */
  constructor(slider, text, bars, live) {
    this.#slider = slider;
    this.#text = text;
    this.#bars = bars;
    this.#live = live;
    slider.addEventListener("input", () => this.#change());
    this.#show();
  }

  get value() {
    return this.#slider.valueAsNumber;
  }

  set value(value) {
    this.#slider.value = String(value);
    this.#change();
  }

  #change() {
    this.#show();
    this.#live.send({ type: "threshold", probability_threshold: this.value });
  }

  #show() {
    const text = this.value.toFixed(3).replace(/0$/, "");
    setText(this.#text, text);
    this.#bars.style.setProperty("--threshold", text);
  }
}
