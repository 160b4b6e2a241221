/** The studio's page: this module joins its parts. */

import * as api from "./api.js";
import { Choice } from "./choice.js";
import { Classes } from "./classes.js";
import { Display } from "./display.js";
import { byId, counted, element, isTyping, setText } from "./dom.js";
import { Files } from "./files.js";
import { Evaluation } from "./evaluation.js";
import { decode } from "./heard.js";
import { unit } from "./labels.js";
import { Listening } from "./listening.js";
import { Live } from "./live.js";
import { Microphone } from "./microphone.js";
import { notify, notifyError, showNotice } from "./notice.js";
import { Outbox } from "./outbox.js";
import { Phones } from "./phones.js";
import { player } from "./player.js";
import { Project } from "./project.js";
import { Recorder } from "./recorder.js";
import { Scope } from "./scope.js";
import { SoundPanel } from "./sound.js";
import { Tabs } from "./tabs.js";
import { Training } from "./training.js";
import { Trimmer } from "./trimmer.js";
import { Words } from "./words.js";

const USUAL_RATE = 48_000; // Hz, for a hello before the microphone is on
const RETRY_AFTER = 1_000; // ms
const DOWNLOAD_STARTS = 10_000; // ms, at the latest

const project = new Project();
const live = new Live();
const outbox = new Outbox(live);
const microphone = new Microphone();
const display = new Display(byId("console"), byId("announcer"));
const scope = new Scope(byId("scope"));
const sound = new SoundPanel(microphone);
const files = new Files(project);
const recorder = new Recorder(outbox, begin);
const training = new Training(project, display);
const wake = () => microphone.state === "off" && microphone.start();
const listening = new Listening(project, display, live, wake);
const evaluation = new Evaluation(project, display, (threshold) => listening.use(threshold));
const choice = new Choice(change);
const words = new Words(live, wake);
const tabs = new Tabs(byId("tabs"));
const phones = new Phones();
const trimmer = new Trimmer(
  (clip, span) => changeWithUndo(() => api.changeClip(clip.id, span), "Recording trimmed."),
  notifyError,
);
const classes = new Classes(byId("classes"), outbox, recorder, {
  labels: () => project.state.labels.map(({ name }) => name),
  rename: (label, name) => change(() => api.changeLabel(label, { name })),
  recolour: (label, colour) => change(() => api.changeLabel(label, { colour })),
  place: (label, position) => change(() => api.changeLabel(label, { position })),
  remove: (label) => changeWithUndo(() => api.removeLabel(label), `${label} removed.`),
  chooseFiles: (label) => files.choose(label),
  addFiles: (label, dropped) => files.add(label, dropped),
  trim: (clip) => trimmer.open(clip).catch(notifyError),
  move: (clip, label) => changeWithUndo(() => api.changeClip(clip.id, { label }), `Recording moved to ${label}.`),
  deleteClip: (clip) => changeWithUndo(() => api.deleteClip(clip.id), "Recording deleted."),
  failed: notifyError,
});

const isProjectShown = () => tabs.view === "sounds";

/** Where the scores go: the server says whose they are before it sends them. */
let scored = listening;

/** The notice that offers to undo, and what it would undo. */
let offer = { step: null, close: () => {} };

/** Change the project, or say why not. Tells whether it went well. */
async function change(request) {
  try {
    await project.change(request);
    return true;
  } catch (error) {
    notifyError(error);
    return false;
  }
}

async function changeWithUndo(request, text) {
  offer.close();
  if (!(await change(request))) return;
  const step = project.state.undo_step;
  offer = { step, close: notify(text, { actions: [{ text: "Undo", run: () => undo(step) }] }) };
}

let undone = Promise.resolve();

/**
 * Take back this step, or the last one that the page knows of. The server refuses if another change came after it.
 * @param {number} [step]
 */
function undo(step) {
  undone = undone.then(() => {
    const meant = step ?? project.state?.undo_step; // read when the undo before this one is through
    return meant && change(() => api.undo(meant));
  });
}

/** The labels' names by their ids. @type {Map<string, string>} */
let names = new Map();

/** A label may get another name while it is recorded: the recording goes with it. */
function followNames(labels) {
  const renamed = labels.filter(({ id, name }) => names.has(id) && names.get(id) !== name);
  const newNames = new Map(renamed.map(({ id, name }) => [names.get(id), name]));
  names = new Map(labels.map(({ id, name }) => [id, name]));
  if (newNames.size === 0) return;
  outbox.rename(newNames);
  recorder.rename(newNames);
}

function showProject() {
  const { state } = project;
  followNames(state.labels);
  if (state.undo_step !== offer.step) offer.close();
  outbox.settle(new Set(state.labels.flatMap(({ clips }) => clips.map(({ id }) => id))));
  setText(byId("project-name"), state.name);
  document.title = `${state.name} – Earmark studio`;
  byId("undo").disabled = !state.undo;
  byId("undo").title = state.undo ? `Undo: ${state.undo}` : "Nothing to undo";
  byId("add-class").disabled = state.labels.length >= state.limits.labels;
  byId("no-classes").hidden = state.labels.length > 0;
  choice.update(state);
  classes.update(state);
  evaluation.update(state);
  training.update(state);
  listening.update();
  showCount();
}

function showOutbox() {
  scope.mark = outbox.running && project.colour(outbox.running.label);
  classes.count();
  showCount();
  showBanner();
}

let shownCount = "";

/** Show how many examples there are, but only when that is news: the line also tells of training and listening. */
function showCount() {
  if (!project.state) return;
  const count = project.state.labels.reduce((sum, { name, examples }) => sum + examples + outbox.examples(name), 0);
  const text = `${counted(count, unit(project.state))} collected`;
  if (text === shownCount) return;
  shownCount = text;
  // A screen reader's voice would be recorded.
  if (recorder.label === null) display.show(text);
  else display.showSilently(text);
}

/** What keeps the page from working, "" if nothing does. */
let trouble = "";

function showBanner() {
  byId("banner").hidden = !trouble;
  if (!trouble) return;
  const waiting = outbox.unsaved.filter((recording) => recording.end !== null).length;
  const count = waiting ? ` ${counted(waiting, "recording")} ${waiting === 1 ? "waits" : "wait"}.` : "";
  const warning = waiting && !outbox.isKept ? " This browser can't keep them: leave the page open." : "";
  setText(byId("banner"), trouble + count + warning);
}

/** Whether chunks can be numbered: what an earlier page left unsaved is known. */
let isRestored = false;

/** Start a recording if that is possible now; else the microphone is turned on, and the press waits for it. */
function begin(label) {
  if (microphone.isAsleep) microphone.wake();
  else if (microphone.state === "off") microphone.start();
  if (microphone.state !== "on" || microphone.isAsleep || !isRestored) return false;
  player.stop();
  listening.want(false);
  outbox.begin(project.state.id, label, microphone.rate);
  return true;
}

function addClass() {
  const taken = new Set(project.state.labels.map(({ name }) => name));
  let number = project.state.labels.length + 1;
  while (taken.has(`Class ${number}`)) number++;
  return change(() => api.addLabel({ name: `Class ${number}` })).then(
    (isDone) => isDone && classes.edit(`Class ${number}`),
  );
}

function takeChunk(chunk) {
  outbox.take(chunk, microphone.rate);
  recorder.limit(project.state.limits.recording_seconds, chunk.samples.length / microphone.rate);
  sound.take(chunk.samples);
  if (recorder.label !== null) classes.count();
}

let saidRate = 0;

function sayHello() {
  saidRate = microphone.rate || USUAL_RATE;
  live.send({ type: "hello", sample_rate: saidRate, next: outbox.next });
}

function microphoneChanged() {
  const { state, problem, rate } = microphone;
  if (state === "on" && rate !== saidRate) sayHello();
  if (state === "on") recorder.resume();
  else if (recorder.label !== null) recorder.finish();
  if (state !== "off" || recorder.awaited === null) return;
  recorder.giveUp();
  notify(problem, { isError: true });
}

async function connected() {
  const { id } = project.state;
  showTrouble("");
  sayHello();
  if (!isProjectShown()) words.ask();
  else if (listening.isWanted) listening.ask();
  await refresh();
  // Another project may be served here now. What was recorded for the old one waits in this browser for it.
  if (project.state.id !== id) location.reload();
  else outbox.resend();
}

function lost() {
  words.lose();
  listening.lose();
  if (phones.isPhone) phones.refresh(); // which shows the sign-in page where this phone was signed out
  showTrouble("Connection lost – your recordings are kept and will be sent again.");
}

function showTrouble(text) {
  trouble = text;
  showBanner();
}

/** Fetch the project again. Where the server can't be reached, it is fetched when the connection comes back. */
function refresh() {
  return project.refresh().catch((error) => error.isAnswer && notifyError(error));
}

const RECEIVERS = {
  recording: ({ recording, examples }) => outbox.count(recording, examples),
  saved,
  refused,
  listening: (message) => {
    scored = message.model === "words" ? words : listening;
    scored.receive(message);
  },
  detection: (message) => scored.detect(message),
  training: (message) => {
    training.receive(message);
    evaluation.wait(training.isRunning);
  },
  evaluation: (message) => {
    evaluation.receive(message);
    training.wait(evaluation.isRunning);
  },
  changed: refresh,
  devices: () => phones.refresh(),
  error: ({ error }) => notifyError({ message: error }),
};

async function saved({ recording, clip }) {
  if (refusals.delete(recording)) showRefusals();
  outbox.saved(recording, clip);
  await refresh();
  // The project counts it now, if not under this name, since somebody changed it meanwhile.
  outbox.remove(recording);
  display.announce(`Saved. ${shownCount}.`);
}

/** Why recordings were refused. @type {Map<string, string>} */
const refusals = new Map();
/** @type {ReturnType<typeof showNotice>|null} */
let refusalNotice = null;

function refused({ recording, error }) {
  if (!outbox.get(recording)) return;
  outbox.count(recording, 0);
  refusals.set(recording, error);
  showRefusals();
}

/**
 * One notice tells of all, lest they cover the page. Whoever closes it keeps the recordings: they are sent again with
 * the next connection, or by the next page.
 */
function showRefusals() {
  const errors = [...refusals.values()];
  if (!errors.length) return refusalNotice?.close();
  const [text, details] = errors.length === 1 ? [errors[0], []] : [`${errors.length} recordings can't be saved:`, errors];
  if (refusalNotice?.retell(text, details)) return;
  const take = () => {
    const ids = [...refusals.keys()];
    refusals.clear();
    return ids;
  };
  const actions = [
    { text: "Try again", run: () => take().forEach((id) => outbox.retry(id)) },
    { text: "Download", run: () => [...refusals.keys()].forEach(downloadHeld), stays: true },
    { text: "Delete", run: () => take().forEach((id) => outbox.remove(id)) },
  ];
  refusalNotice = showNotice(text, { isError: true, stays: true, keeps: true, details, actions });
}

/** @param {string} id @param {number} index among several */
function downloadHeld(id, index) {
  download(outbox.file(id), index ? `recording-${index + 1}.wav` : "recording.wav");
}

function download(file, name) {
  const address = URL.createObjectURL(file);
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), DOWNLOAD_STARTS);
}

function hear(message) {
  const { predictions, columns } = decode(message);
  for (const prediction of predictions) scored.predict(prediction);
  scope.add(columns);
}

/** There is one microphone: what a view does with it ends when another one is chosen. */
function tabChanged() {
  recorder.finish();
  player.stop();
  listening.want(false);
  words.want(false);
  if (!isProjectShown()) words.ask(); // it needs its words
  showView();
}

/** What stands outside the tabs' panels but belongs to the project. */
function showView() {
  for (const id of ["project-name", "toolbar", "keys"]) byId(id).hidden = !isProjectShown();
}

/** The address must not change: it names the view. */
function skip(event) {
  event.preventDefault();
  tabs.panel.focus();
}

function shortcut(event) {
  if (!isProjectShown()) return; // nobody would see what was undone
  const isUndo = (event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z";
  if (!isUndo || isTyping(event.target) || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  undo();
}

function wire() {
  microphone.addEventListener("state", microphoneChanged);
  project.addEventListener("change", showProject);
  outbox.addEventListener("change", showOutbox);
  recorder.addEventListener("short", () => notify("Hold the button while you make the sound."));
  recorder.addEventListener("early", () => notify("The microphone was not on yet. Hold the button until it is."));
  recorder.addEventListener("wait", () => classes.count());
  recorder.addEventListener("discard", () => notify("Recording discarded."));
  recorder.attachDigits((position) =>
    isProjectShown() ? project.state?.labels[position]?.name : undefined,
  );
  live.addEventListener("open", connected);
  live.addEventListener("lost", lost);
  live.onheard = hear;
  live.onmessage = (message) => RECEIVERS[message.type]?.(message);
  tabs.addEventListener("change", tabChanged);
  byId("skip").addEventListener("click", skip);
  byId("undo").addEventListener("click", () => undo());
  byId("add-class").addEventListener("click", addClass);
  document.addEventListener("keydown", shortcut);
  addEventListener("beforeunload", (event) => outbox.unsaved.length > 0 && event.preventDefault());
}

/** The first reading of the project, for as long as it takes. */
async function load() {
  try {
    await project.refresh();
  } catch (error) {
    if (error.isAnswer) showTrouble(error.message);
    else lost();
    await new Promise((resolve) => setTimeout(resolve, RETRY_AFTER));
    await load();
  }
}

async function start() {
  wire();
  showView();
  await load();
  await phones.refresh();
  sound.isPhone = phones.isPhone;
  // Before any sound: the numbers of held recordings must not be given again.
  await outbox.restore(project.state.id);
  isRestored = true;
  microphone.onchunk = takeChunk;
  recorder.resume();
  live.connect();
  if (await microphone.isAllowed()) microphone.start();
}

start();
