/** What is taught, and what it is trained on. */

import * as api from "./api.js";
import { byId, element, setText } from "./dom.js";

const HINTS = {
  sounds: "Record each sound. Record the noise of the room too.",
  words:
    "Hold the button and say the word once; make ten or more recordings, at different distances. " +
    "_background_noise_ and unknown words are learnt besides, so that it stays silent for what you never taught.",
};

export class Choice {
  #mode = byId("mode");
  #base = byId("base");
  /** @type {import("./api.js").ProjectState|null} */
  #state = null;
  #shown = "";

  /** @param {(request: () => Promise<any>) => Promise<boolean>} change tells whether it went well */
  constructor(change) {
    this.#mode.addEventListener("change", ({ target }) => this.#choose(change, { mode: target.value }));
    this.#base.addEventListener("change", ({ target }) => this.#choose(change, { base: target.value }));
  }

  async #choose(change, wanted) {
    if (!(await change(() => api.changeProject(wanted)))) this.#check();
  }

  /** @param {import("./api.js").ProjectState} state */
  update(state) {
    this.#state = state;
    setText(byId("classes-hint"), HINTS[state.mode]);
    this.#base.hidden = state.bases.length < 2;
    this.#buildBases(state.bases);
    this.#check();
    const chosen = state.bases.find(({ name }) => name === state.base);
    const sentences = this.#base.hidden ? [] : hints(chosen, state.bases);
    byId("base-hint").replaceChildren(...sentences.map((textContent) => element("p", { textContent })));
  }

  /** Check what is chosen as the server has it. */
  #check() {
    for (const [fieldset, value] of [
      [this.#mode, this.#state.mode],
      [this.#base, this.#state.base],
    ])
      for (const input of fieldset.querySelectorAll("input")) input.checked = input.value === value;
  }

  #buildBases(bases) {
    const shown = JSON.stringify(bases);
    if (shown === this.#shown) return; // a new radio would take the focus away
    this.#shown = shown;
    const labels = bases.map(({ name, remedy }) =>
      element(
        "label",
        {},
        element("input", { type: "radio", name: "base", value: name, disabled: remedy !== null }),
        element("span", { textContent: name }),
      ),
    );
    this.#base.querySelector(".segments").replaceChildren(...labels);
  }
}

function hints(chosen, bases) {
  const missing = bases.filter(({ remedy }) => remedy !== null);
  const remedies = missing.map(({ name, explanation, remedy }) => `${name} (${explanation}) can't be used here: ${remedy}.`);
  const own = chosen?.remedy === null && `${chosen.name}: ${chosen.explanation}.`;
  return own ? [own, ...remedies] : remedies;
}
