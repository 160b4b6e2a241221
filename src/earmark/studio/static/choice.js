/** The choice of mode, sounds or words, and of the base to train on. */

import * as api from "./api.js";
import { arrange, byId, element, Entry, setText } from "./dom.js";

const HINTS = {
  sounds: "Record each sound. Record the noise of the room too.",
  words:
    "Hold the button and say the word once; make ten or more recordings, at different distances. " +
    "_background_noise_ and unknown words are learnt besides, so that it stays silent for what you never taught.",
};

export class Choice {
  #base = byId("base");
  #mode = new Entry((mode) => check(byId("mode"), mode));
  #chosen = new Entry((base) => check(this.#base, base));

  /** @param {(request: () => Promise<any>) => Promise<boolean>} change tells whether it went well */
  constructor(change) {
    const choose = (entry, wanted) => entry.save(() => change(() => api.changeProject(wanted)));
    byId("mode").addEventListener("change", ({ target }) => choose(this.#mode, { mode: target.value }));
    this.#base.addEventListener("change", ({ target }) => choose(this.#chosen, { base: target.value }));
  }

  /** @param {import("./api.js").ProjectState} state */
  update(state) {
    setText(byId("classes-hint"), HINTS[state.mode]);
    this.#base.hidden = state.bases.length < 2;
    this.#showBases(state.bases);
    this.#mode.show(state.mode);
    this.#chosen.show(state.base);
    const chosen = state.bases.find(({ name }) => name === state.base);
    const sentences = this.#base.hidden ? [] : hints(chosen, state.bases);
    byId("base-hint").replaceChildren(...sentences.map((textContent) => element("p", { textContent })));
  }

  /** A radio stays as long as its base does: a new one would take the focus away, and the click that is under way. */
  #showBases(bases) {
    const segments = this.#base.querySelector(".segments");
    const shown = new Map([...segments.children].map((segment) => [segment.querySelector("input").value, segment]));
    const wanted = bases.map(({ name }) => shown.get(name) ?? segment(name));
    arrange(segments, wanted);
    bases.forEach(({ remedy }, i) => (wanted[i].querySelector("input").disabled = remedy !== null));
  }
}

const segment = (name) =>
  element(
    "label",
    {},
    element("input", { type: "radio", name: "base", value: name }),
    element("span", { textContent: name }),
  );

function check(fieldset, value) {
  for (const input of fieldset.querySelectorAll("input")) input.checked = input.value === value;
}

function hints(chosen, bases) {
  const missing = bases.filter(({ remedy }) => remedy !== null);
  const remedies = [...new Set(missing.map(({ remedy }) => remedy))].map((wanted) => {
    const names = missing.filter(({ remedy }) => remedy === wanted).map(({ name }) => name);
    return `${names.join(", ")} can't be used here: ${wanted}.`;
  });
  const own = chosen?.remedy === null && `${chosen.name}: ${chosen.explanation}.`;
  return own ? [own, ...remedies] : remedies;
}
