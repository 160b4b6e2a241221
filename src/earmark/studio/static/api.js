/** The project over HTTP. Every function rejects with an Error whose message can be shown as it is.
 * Its `isAnswer` is set if the message is the server's answer. */

const UNREACHABLE = "The studio's server can't be reached. Start it again and repeat this step.";

async function ask(method, path, body) {
  const headers = method === "GET" ? {} : { "X-Earmark": "studio" };
  const isFile = body instanceof Blob;
  if (body !== undefined) headers["Content-Type"] = isFile ? "application/octet-stream" : "application/json";
  const options = { method, headers, body: isFile || body === undefined ? body : JSON.stringify(body) };
  const response = await fetch(path, options).catch(() => {
    throw new Error(UNREACHABLE);
  });
  if (response.status === 401) location.reload(); // this phone was signed out: there is only the sign-in page for it
  if (!response.ok) throw Object.assign(new Error(await explanation(response)), { isAnswer: true });
  return response;
}

async function explanation(response) {
  const answer = await response.json().catch(() => ({}));
  return answer.error ?? `The server answered ${response.status}. Try again.`;
}

const query = (path, values) => `${path}?${new URLSearchParams(values)}`;
const json = async (...request) => (await ask(...request)).json();

/** @typedef {{id: string, seconds: number, examples: number, has_sound: boolean, error: string|null}} Clip */
/** @typedef {{id: string, name: string, colour: string, examples: number, clips: Clip[]}} Label */
/** @typedef {{epoch: number, epochs: number, loss: number, accuracy: number, validation_accuracy?: number|null}} Epoch */
/** @typedef {{what: string, done: number, count: number}} Progress */
/** @typedef {{hits: number, count: number, value: number|null, interval: number[]}} Share */
/**
 * @typedef {object} Evaluation
 * @property {string} method
 * @property {Share} accuracy
 * @property {{name: string, recordings: number, recall: Share, precision: Share}[]} labels
 * @property {number[][]} confusion rows for what was said, columns for what was heard, in the order of `labels`
 * @property {{threshold: number, recall: Share, how: string}} recommendation
 * @property {string[]} advice
 * @property {boolean} stale
 * @property {string|null} report its address
 * @property {string|null} report_remedy why there is none
 */
/**
 * @typedef {object} ProjectState
 * @property {string} id tells one project from another at the same address
 * @property {string} name
 * @property {"sounds"|"words"} mode
 * @property {string} base
 * @property {{name: string, explanation: string, remedy: string|null}[]} bases
 * @property {number} examples
 * @property {string|null} undo
 * @property {number|null} undo_step
 * @property {Label[]} labels
 * @property {{name: string, base: string|null, base_chosen_because: string|null, labels: string[], colours: (string|null)[], accuracy: number, loss: number, examples: number, stale: boolean}|null} model
 * @property {{running: boolean, progress: Progress|null, epochs: Epoch[]}} training
 * @property {{running: boolean, progress: Progress|null, created: string|null, stale: boolean|null}} evaluation
 * @property {{labels: number, label_characters: number, recording_seconds: number, upload_bytes: number}} limits
 */

/** @returns {Promise<ProjectState>} */
export const readProject = () => json("GET", "/api/project");
/** @param {{mode: string}|{base: string}} change */
export const changeProject = (change) => json("PATCH", "/api/project", change);
/** @param {{name: string, colour?: string}} label */
export const addLabel = (label) => json("POST", "/api/labels", label);
/** @param {string} label @param {{name?: string, colour?: string, position?: number}} change */
export const changeLabel = (label, change) => json("PATCH", query("/api/labels", { label }), change);
/** @param {string} label */
export const removeLabel = (label) => json("DELETE", query("/api/labels", { label }));
/** @param {string} label @param {File} file */
export const addClip = (label, file) => json("POST", query("/api/clips", { label, name: file.name }), file);
/** @param {string} clip @param {{label: string}|{start: number, end: number}} change */
export const changeClip = (clip, change) => json("PATCH", query("/api/clips", { clip }), change);
/** @param {string} clip */
export const deleteClip = (clip) => json("DELETE", query("/api/clips", { clip }));
/** @param {number} step the change that is meant, which may not be the last one any more */
export const undo = (step) => json("POST", query("/api/undo", { step }));
/** @typedef {{added: number, known: number, skipped: {name: string, error: string}[], notes: string[], project: ProjectState}} Imported */
/** @param {File} file @param {string} [label] of recordings that have none of their own @returns {Promise<Imported>} */
export const importSet = (file, label) =>
  json("POST", query("/api/import", { name: file.name, ...(label !== undefined && { label }) }), file);
export const startTraining = () => json("POST", "/api/train");
export const cancelTraining = () => json("DELETE", "/api/train");
export const startEvaluation = () => json("POST", "/api/evaluate");
export const cancelEvaluation = () => json("DELETE", "/api/evaluate");
/** @returns {Promise<Evaluation|null>} */
export const readEvaluation = () => json("GET", "/api/evaluation");

/** @typedef {{id: string, name: string, address: string, signed_in: number}} Device */
/** @typedef {{urls: string[], code: string, fingerprint: string, devices: Device[]}} Lan */

/** What the studio is in the network: null where it isn't, only `device` on a phone. @returns {Promise<Lan|{device: string}|null>} */
export const readLan = () => json("GET", "/api/lan");
/** @returns {Promise<Lan>} */
export const renewCode = () => json("POST", "/api/lan/code");
/** @param {string} device @returns {Promise<Lan>} */
export const signOutDevice = (device) => json("DELETE", query("/api/lan/devices", { device }));
export const signOut = () => json("DELETE", "/api/session");
/** @param {string} code of which it is a picture */
export const qrAddress = (code) => query("/api/lan/qr", { code });

/** @param {string} clip the address of its sound */
export const audioAddress = (clip) => query("/api/clips/audio", { clip });
/** @param {string} clip @returns {Promise<Blob>} */
export const readAudio = async (clip) => (await ask("GET", audioAddress(clip))).blob();
/** @param {string} clip @returns {Promise<Uint8Array>} columns of 232 bytes */
export const readSpectrogram = async (clip) =>
  new Uint8Array(await (await ask("GET", query("/api/clips/spectrogram", { clip }))).arrayBuffer());
