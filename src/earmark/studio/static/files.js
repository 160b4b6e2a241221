/** Takes in dropped or chosen files: sound files, and files with many recordings. */

import * as api from "./api.js";
import { byId, counted } from "./dom.js";
import { notify, notifyError, showNotice } from "./notice.js";

const SOUNDS = /\.(wav|flac|ogg|oga|opus|mp3|aiff?|au|caf|webm|mkv|mka|mp4|m4a|mov|3gp|aac|npy)$/i;
/** Whether a file is one recording. Whatever else comes, the server knows by its content, or says what it is. */
const isSound = (file) => SOUNDS.test(file.name) || /^(audio|video)\//.test(file.type);
const megabytes = (bytes) => `${Math.floor(bytes / 2 ** 20)} MB`;
const isFromOutside = (event) => event.dataTransfer.types.includes("Files");

/**
 * What became of files.
 * @typedef {object} Outcome
 * @property {number} added
 * @property {number} [known] how many were in the project already
 * @property {{name: string, error: string}[]} skipped
 * @property {string[]} [notes]
 */

export class Files {
  #project;
  #label = "";

  /** @param {import("./project.js").Project} project */
  constructor(project) {
    this.#project = project;
    const [sounds, set] = [byId("sound-files"), byId("zip-file")];
    sounds.addEventListener("change", () => this.#take(sounds, (files) => this.add(this.#label, files)));
    set.addEventListener("change", () => this.#take(set, (files) => this.#importAll(files)));
    byId("load").addEventListener("click", () => set.click());
    // Without this, a file that is dropped beside a card would replace the page.
    addEventListener("dragover", (event) => this.#invite(event));
    addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("receiving"));
    addEventListener("drop", (event) => this.#drop(event));
  }

  #take(input, use) {
    const files = [...input.files];
    input.value = "";
    if (files.length) use(files);
  }

  /** Let the user choose sound files for a label. @param {string} label */
  choose(label) {
    this.#label = label;
    byId("sound-files").click();
  }

  #invite(event) {
    event.preventDefault();
    document.body.classList.toggle("receiving", isFromOutside(event));
  }

  #drop(event) {
    event.preventDefault();
    document.body.classList.remove("receiving");
    if (event.target.closest?.(".card")) return;
    const files = dropped(event.dataTransfer);
    if (files.some(isSound)) notify("Drop sound files on a class. Zips and sets of recordings can be dropped anywhere.");
    this.#importAll(files.filter((file) => !isSound(file)));
  }

  /**
   * Add sound files to a label, and import what holds many recordings, which may name labels of its own.
   * @param {string} label
   * @param {File[]} files
   */
  async add(label, files) {
    const sounds = files.filter(isSound);
    const [skipped, notes] = [[], []];
    const adding = (i) => `Adding ${i + 1} of ${sounds.length}: ${sounds[i].name}`;
    const notice = sounds.length ? showNotice(adding(0), { stays: true }) : null;
    for (const [i, file] of sounds.entries()) {
      notice.retell(adding(i));
      await this.#send(file, async () => {
        const answer = await api.addClip(label, file);
        notes.push(...answer.notes.map((note) => `${file.name} — ${note}`));
        return answer;
      }).catch(({ message }) => skipped.push({ name: file.name, error: message }));
    }
    notice?.close();
    if (sounds.length) report({ added: sounds.length - skipped.length, skipped, notes });
    await this.#importAll(
      files.filter((file) => !isSound(file)),
      label,
    );
  }

  async #send(file, request) {
    const most = this.#project.state.limits.upload_bytes;
    if (file.size > most)
      throw new Error(`${file.name} is larger than ${megabytes(most)}. Cut it into smaller files.`);
    await this.#project.change(request);
  }

  /** @param {File[]} files @param {string} [label] of recordings that have none of their own */
  async #importAll(files, label) {
    for (const file of files) await this.#import(file, label);
  }

  async #import(file, label) {
    const done = notify(`Loading ${file.name}…`, { stays: true });
    try {
      let result;
      await this.#send(file, async () => (result = await api.importSet(file, label)).project);
      report(result);
    } catch (error) {
      notifyError(error);
    }
    done();
  }
}

/** The files of a drop; a folder comes as a file that can't be read, and is told. @param {DataTransfer} data */
export function dropped(data) {
  const entries = [...data.items].map((item) => item.webkitGetAsEntry?.());
  const folders = entries.filter((entry) => entry?.isDirectory).map(({ name }) => name);
  for (const name of folders)
    notifyError({ message: `${name} is a folder: make it a zip, and drop that.` });
  return [...data.files].filter(({ name }) => !folders.includes(name));
}

/** @param {Outcome} outcome */
function report({ added, known = 0, skipped, notes = [] }) {
  const details = [...skipped.map(detail), ...notes];
  if (added + known === 0 && skipped.length === 1) return notify(details[0], { isError: true, stays: true });
  const text = sentence(added, known, skipped.length);
  notify(text, { stays: details.length > 0, isError: added + known === 0, details });
}

function sentence(added, known, skipped) {
  const which = added ? String(known) : counted(known, "recording");
  const parts = [
    (added || !known) && `${counted(added, "recording")} added`,
    known && `${which} ${known === 1 ? "was" : "were"} here already`,
    skipped && `${counted(skipped, "file")} skipped`,
  ];
  return `${parts.filter(Boolean).join(", ")}${skipped ? ":" : "."}`;
}

/** The file and why it was skipped; most reasons begin with the file's name themselves. */
function detail({ name, error }) {
  const last = name.split("/").at(-1);
  return error.startsWith(last) ? name + error.slice(last.length) : `${name} — ${error}`;
}
