/** The cards of the classes, with their names, colours, record buttons and recordings. */

import { CLIP_TYPE, ClipList } from "./clips.js";
import { arrange, byId, counted, element, Entry, setText } from "./dom.js";
import { dropped } from "./files.js";
import { unit } from "./labels.js";
import { menuButton } from "./menu.js";

/** The record buttons of the codelab's page, by position. */
const IDS = ["left", "right", "noise"];
const INVITATIONS = {
  sounds: "Hold the button and make the sound.",
  words: "Hold the button and say the word once. Make ten or more recordings, at different distances.",
};

/**
 * @typedef {object} ClassActions what the page can do with a class, besides what it does with its clips
 * @property {(name: string) => Promise<boolean>} add
 * @property {(label: string, name: string) => Promise<boolean>} rename
 * @property {(label: string, colour: string) => Promise<boolean>} recolour
 * @property {(label: string, position: number) => void} place
 * @property {(label: string) => void} remove
 * @property {(label: string) => void} chooseFiles
 * @property {(label: string, files: File[]) => void} addFiles
 */

/** The list of all classes. */
export class Classes {
  /** By their labels' ids: a card stays when its label is renamed. @type {Map<string, Card>} */
  #cards = new Map();
  #add = byId("add-class");
  #list;
  #outbox;
  #recorder;
  #actions;

  /**
   * @param {HTMLElement} list
   * @param {import("./outbox.js").Outbox} outbox
   * @param {import("./recorder.js").Recorder} recorder
   * @param {ClassActions & import("./clips.js").ClipActions} actions
   */
  constructor(list, outbox, recorder, actions) {
    this.#list = list;
    this.#outbox = outbox;
    this.#recorder = recorder;
    this.#actions = actions;
    this.#add.addEventListener("click", () => this.#addClass());
  }

  /** @param {import("./api.js").ProjectState} project */
  update(project) {
    this.#add.disabled = project.labels.length >= project.limits.labels;
    byId("no-classes").hidden = project.labels.length > 0;
    const kept = new Map();
    project.labels.forEach((label, position) => {
      const card = this.#cards.get(label.id) ?? new Card(this.#recorder, this.#actions);
      card.update(label, position, project);
      kept.set(label.id, card);
    });
    this.#cards = kept;
    arrange(
      this.#list,
      [...kept.values()].map((card) => card.node),
    );
    this.count();
  }

  /** Show the counts, with what is not saved yet, and the recording that runs. */
  count() {
    for (const card of this.#cards.values()) card.count(this.#outbox, this.#recorder);
  }

  /** Add one by a name that is free, and put the cursor into that. */
  async #addClass() {
    const cards = () => [...this.#cards.values()];
    const taken = new Set(cards().map((card) => card.name));
    let number = taken.size + 1;
    while (taken.has(`Class ${number}`)) number++;
    const name = `Class ${number}`;
    if (!(await this.#actions.add(name))) return;
    for (const card of cards()) if (card.name === name) card.edit();
  }
}

class Card {
  /** @type {import("./api.js").Label} */
  #label;
  #position = 0;
  #total = 0;
  #unit = "";
  #actions;
  #colour = element("input", {
    type: "color",
    className: "swatch",
    title: "Colour",
    oninput: () => (this.#isPicking = true),
    onchange: () => this.#recolour(),
    onblur: () => (this.#isPicking = false),
  });
  #isPicking = false;
  #colourEntry = new Entry((colour) => (this.#colour.value = colour), () => this.#isPicking);
  #name = element("input", {
    className: "name",
    autocomplete: "off",
    spellcheck: false,
    onblur: () => this.#rename(),
    onkeydown: (event) => this.#type(event),
  });
  #nameEntry = new Entry((name) => (this.#name.value = name), () => this.#name === document.activeElement);
  #more = menuButton(() => this.#menu());
  #count = element("p", { className: "count" });
  #recordButton = element("button", { type: "button", className: "record" });
  #recordText = element("span", { className: "record-text" });
  #recordName = element("span", { className: "visually-hidden" });
  #key = element("kbd", { "aria-hidden": "true" });
  #empty = element("p", { className: "empty" });
  #clips;

  constructor(recorder, actions) {
    this.#actions = actions;
    this.#recordButton.append(element("span", { className: "dot" }), this.#recordText, this.#recordName, this.#key);
    recorder.attach(this.#recordButton, () => this.#label.name);
    const head = element("div", { className: "card-head" }, this.#colour, this.#name, this.#more);
    const list = element("ul", { className: "clips" });
    this.#clips = new ClipList(list, () => this.#label.name, actions);
    this.node = element("li", { className: "card" }, head, this.#count, this.#recordButton, this.#empty, list);
    this.#attachDrop();
  }

  /**
   * @param {import("./api.js").Label} label
   * @param {number} position
   * @param {import("./api.js").ProjectState} project
   */
  update(label, position, project) {
    this.#label = label;
    this.#position = position;
    this.#total = project.labels.length;
    this.#unit = unit(project);
    setText(this.#empty, INVITATIONS[project.mode]);
    this.node.style.setProperty("--label", label.colour);
    this.#colourEntry.show(label.colour);
    this.#colour.setAttribute("aria-label", `Colour of ${label.name}`);
    this.#nameEntry.show(label.name);
    this.#name.maxLength = project.limits.label_characters;
    this.#name.setAttribute("aria-label", `Name of class ${position + 1}`);
    this.#more.setAttribute("aria-label", `More for ${label.name}`);
    this.#updateRecord(label.name, position);
    this.#empty.hidden = label.clips.length > 0;
    this.#clips.update(label.clips);
  }

  #updateRecord(name, position) {
    if (position < IDS.length) this.#recordButton.id = IDS[position];
    else this.#recordButton.removeAttribute("id");
    setText(this.#recordName, ` ${name}`);
    this.#key.hidden = position > 8;
    setText(this.#key, String(position + 1));
    if (position > 8) this.#recordButton.removeAttribute("aria-keyshortcuts");
    else this.#recordButton.setAttribute("aria-keyshortcuts", String(position + 1));
  }

  get name() {
    return this.#label.name;
  }

  /** @param {import("./outbox.js").Outbox} outbox @param {import("./recorder.js").Recorder} recorder */
  count(outbox, recorder) {
    const isRecording = recorder.label === this.#label.name;
    setText(this.#count, counted(this.#label.examples + outbox.examples(this.#label.name), this.#unit));
    this.node.classList.toggle("recording", isRecording);
    const text = recorder.awaited === this.#label.name ? "The microphone starts…" : "Hold to record";
    setText(this.#recordText, isRecording ? `Recording ${outbox.running.seconds.toFixed(1)} s` : text);
  }

  edit() {
    this.#name.focus();
    this.#name.select();
    this.node.scrollIntoView({ block: "nearest" });
  }

  #type(event) {
    if (event.key === "Enter") this.#name.blur();
    if (event.key !== "Escape") return;
    this.#name.value = this.#label.name;
    this.#name.blur();
  }

  #rename() {
    const name = this.#name.value.trim();
    if (name === "" || name === this.#label.name) this.#name.value = this.#label.name;
    else this.#nameEntry.save(() => this.#actions.rename(this.#label.name, name));
  }

  #recolour() {
    const { value } = this.#colour;
    this.#isPicking = false;
    this.#colourEntry.save(() => this.#actions.recolour(this.#label.name, value));
  }

  #menu() {
    const { place, chooseFiles, remove } = this.#actions;
    return [
      { text: "Add sound files…", run: () => chooseFiles(this.name) },
      { text: "Move to the left", run: () => place(this.name, this.#position - 1), isOff: this.#position === 0 },
      {
        text: "Move to the right",
        run: () => place(this.name, this.#position + 1),
        isOff: this.#position === this.#total - 1,
      },
      { text: "Remove class", run: () => remove(this.name) },
    ];
  }

  #attachDrop() {
    const { node } = this;
    node.addEventListener("dragover", ({ dataTransfer }) => {
      if (dataTransfer.types.includes(CLIP_TYPE)) dataTransfer.dropEffect = "move";
      node.classList.add("target");
    });
    node.addEventListener(
      "dragleave",
      (event) => !node.contains(event.relatedTarget) && node.classList.remove("target"),
    );
    node.addEventListener("drop", ({ dataTransfer }) => {
      node.classList.remove("target");
      const clip = dataTransfer.getData(CLIP_TYPE);
      if (clip) this.#takeClip(JSON.parse(clip));
      else this.#actions.addFiles(this.#label.name, dropped(dataTransfer));
    });
  }

  #takeClip(clip) {
    if (!this.#label.clips.some(({ id }) => id === clip.id)) this.#actions.move(clip, this.#label.name);
  }
}
