/** Sound files, and files of many recordings, that are dropped or chosen. */

import * as api from "./api.js";
import { byId, counted } from "./dom.js";
import { notify, notifyError } from "./notice.js";

/** Zips of recordings, speech-commands' sets of examples, Teachable Machine's projects. */
const isSet = (file) => /\.(zip|bin|tm)$/i.test(file.name) || file.type === "application/zip";
const megabytes = (bytes) => `${Math.floor(bytes / 2 ** 20)} MB`;

export class Files {
  #project;
  #label = "";

  /** @param {import("./project.js").Project} project */
  constructor(project) {
    this.#project = project;
    const [sounds, set] = [byId("sound-files"), byId("zip-file")];
    sounds.addEventListener("change", () => this.#take(sounds, (files) => this.add(this.#label, files)));
    set.addEventListener("change", () => this.#take(set, (files) => this.import(files[0])));
    byId("load").addEventListener("click", () => set.click());
    // Without this, a file that is dropped beside a card would replace the page.
    addEventListener("dragover", (event) => event.preventDefault());
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

  #drop(event) {
    event.preventDefault();
    const files = [...event.dataTransfer.files];
    if (files.length === 0 || event.target.closest?.(".card")) return;
    if (files.every(isSet)) files.forEach((file) => this.import(file));
    else notify("Drop sound files on a class. A zip or a set of recordings can be dropped anywhere.");
  }

  /**
   * Add sound files to a label, and import what holds many recordings, which may name labels of its own.
   * @param {string} label
   * @param {File[]} files
   */
  async add(label, files) {
    files.filter(isSet).forEach((file) => this.import(file, label));
    const sounds = files.filter((file) => !isSet(file));
    const skipped = [];
    for (const [i, file] of sounds.entries()) {
      const done = notify(`Adding ${i + 1} of ${sounds.length}: ${file.name}`, { stays: true });
      await this.#send(file, () => api.addClip(label, file)).catch(({ message }) =>
        skipped.push({ name: file.name, error: message }),
      );
      done();
    }
    if (sounds.length) report(sounds.length - skipped.length, skipped);
  }

  async #send(file, request) {
    const most = this.#project.state.limits.upload_bytes;
    if (file.size > most) throw new Error(`It is larger than ${megabytes(most)}. Cut it into smaller files.`);
    await this.#project.change(request);
  }

  /** @param {File} file @param {string} [label] of recordings that have none of their own */
  async import(file, label) {
    const done = notify(`Loading ${file.name}…`, { stays: true });
    try {
      let result;
      await this.#send(file, async () => (result = await api.importSet(file, label)).project);
      report(result.added, result.skipped, result.notes);
    } catch (error) {
      notifyError(error);
    }
    done();
  }
}

function report(added, skipped, notes = []) {
  const text = `${counted(added, "recording")} added`;
  if (skipped.length === 0) return notify([`${text}.`, ...notes].join(" "), { stays: notes.length > 0 });
  const details = [...skipped.map(detail), ...notes];
  notify(`${text}, ${skipped.length} skipped:`, { stays: true, isError: added === 0, details });
}

/** The file and why it was skipped; most reasons begin with the file's name themselves. */
function detail({ name, error }) {
  const last = name.split("/").at(-1);
  return error.startsWith(last) ? name + error.slice(last.length) : `${name} — ${error}`;
}
