/** The dialog that trims a recording. */

import { readAudio } from "./api.js";
import { byId, duration } from "./dom.js";
import { player } from "./player.js";
import { drawClip } from "./spectrogram.js";

const SHORTEST = 0.1; // s, as the server has it

export class Trimmer {
  #dialog = byId("trimmer");
  #form = this.#dialog.querySelector("form");
  #canvas = this.#dialog.querySelector("canvas");
  #playhead = this.#dialog.querySelector(".playhead");
  #silent = this.#dialog.querySelector(".buttons .hint");
  #shades = this.#dialog.querySelectorAll(".shade");
  #clip;
  #start = 0;
  #end = 0;
  #address = "";

  /**
   * @param {(clip: import("./api.js").Clip, span: {start: number, end: number}) => void} save
   * @param {(error: Error) => void} failed
   */
  constructor(save, failed) {
    const { elements } = this.#form;
    for (const name of ["start-handle", "end-handle"])
      elements[name].oninput = () => this.#take(name, elements[name].valueAsNumber);
    for (const name of ["start", "end"]) elements[name].onchange = () => this.#take(name, elements[name].valueAsNumber);
    elements.preview.onclick = () => this.#preview(failed);
    elements.cancel.onclick = () => this.#dialog.close("");
    this.#dialog.addEventListener("close", () => {
      player.stop();
      const isTrimmed = this.#start > 0 || this.#end < this.#clip.seconds;
      if (this.#dialog.returnValue === "save" && isTrimmed) save(this.#clip, { start: this.#start, end: this.#end });
    });
  }

  /** @param {import("./api.js").Clip} clip @returns {Promise<void>} */
  async open(clip) {
    this.#clip = clip;
    this.#start = 0;
    this.#end = clip.seconds;
    this.#dialog.returnValue = "";
    for (const name of ["start", "end", "start-handle", "end-handle"])
      this.#form.elements[name].max = String(clip.seconds);
    this.#playhead.hidden = true;
    this.#form.elements.preview.hidden = !clip.has_sound;
    this.#silent.hidden = clip.has_sound;
    this.#show();
    this.#dialog.showModal();
    URL.revokeObjectURL(this.#address);
    this.#address = "";
    await drawClip(this.#canvas, clip.id);
  }

  #take(name, value) {
    const { seconds } = this.#clip;
    if (Number.isNaN(value)) return this.#show();
    if (name.startsWith("start")) this.#start = Math.max(0, Math.min(value, this.#end - SHORTEST));
    else this.#end = Math.min(seconds, Math.max(value, this.#start + SHORTEST));
    player.stop();
    this.#show();
  }

  #show() {
    const { elements } = this.#form;
    const percent = (seconds) => `${(100 * seconds) / this.#clip.seconds}%`;
    elements["start-handle"].value = elements.start.value = this.#start.toFixed(2);
    elements["end-handle"].value = elements.end.value = this.#end.toFixed(2);
    // Where the handles meet at the right edge, only the start can still be dragged away.
    elements["start-handle"].classList.toggle("above", this.#start > this.#clip.seconds / 2);
    this.#shades[0].style.width = percent(this.#start);
    this.#shades[1].style.width = percent(this.#clip.seconds - this.#end);
    elements.kept.value = `${duration(this.#end - this.#start)} of ${duration(this.#clip.seconds)} kept`;
  }

  async #preview(failed) {
    try {
      // From memory, since not every server lets a sound start in its middle.
      this.#address ||= URL.createObjectURL(await readAudio(this.#clip.id));
    } catch (error) {
      return failed(error);
    }
    this.#playhead.hidden = false;
    player.play(this.#address, {
      start: this.#start,
      end: this.#end,
      onprogress: (seconds) => (this.#playhead.style.left = `${(100 * seconds) / this.#clip.seconds}%`),
      onstop: () => (this.#playhead.hidden = true),
    });
  }
}
