/** The main module of the studio's page: joins its parts. */

import * as api from "./api.js";
import { Banner } from "./banner.js";
import { Capture } from "./capture.js";
import { Changes } from "./changes.js";
import { Choice } from "./choice.js";
import { Classes } from "./classes.js";
import { Count } from "./count.js";
import { Display } from "./display.js";
import { byId, setText } from "./dom.js";
import { Evaluation } from "./evaluation.js";
import { Files } from "./files.js";
import { decode } from "./heard.js";
import { Hearing } from "./hearing.js";
import { Listening } from "./listening.js";
import { Live } from "./live.js";
import { Microphone } from "./microphone.js";
import { notify, notifyError } from "./notice.js";
import { Outbox } from "./outbox.js";
import { Phones } from "./phones.js";
import { player } from "./player.js";
import { Project } from "./project.js";
import { Refusals } from "./refusals.js";
import { Scope } from "./scope.js";
import { Session } from "./session.js";
import { SoundPanel } from "./sound.js";
import { Tabs } from "./tabs.js";
import { Training } from "./training.js";
import { Trimmer } from "./trimmer.js";
import { Words } from "./words.js";

const project = new Project();
const live = new Live();
const outbox = new Outbox(live);
const microphone = new Microphone();
const wake = () => microphone.state === "off" && microphone.start();

const tabs = new Tabs(byId("tabs"));
const isProjectShown = () => tabs.view === "sounds";
const display = new Display(byId("console"), byId("announcer"));
const banner = new Banner(outbox);
const phones = new Phones();
const scope = new Scope(byId("scope"));
const sound = new SoundPanel(microphone);

const listening = new Listening(project, display, live, wake);
const words = new Words(live, wake);
const hearing = new Hearing(listening, words, isProjectShown);
const capture = new Capture(microphone, outbox, project, quiet);
const { recorder } = capture;
const refusals = new Refusals(outbox);
const count = new Count(project, outbox, recorder, display);
const session = new Session({ live, project, microphone, outbox, hearing, phones, banner });

const changes = new Changes(project, isProjectShown);
const change = (request) => changes.make(request);
const changeAndTell = (request, text) => changes.makeAndTell(request, text);
const choice = new Choice(change);
const files = new Files(project);
const training = new Training(project, display);
const evaluation = new Evaluation(project, display, (threshold) => listening.use(threshold));
const trimmer = new Trimmer(
  (clip, span) => changeAndTell(() => api.changeClip(clip.id, span), "Recording trimmed."),
  notifyError,
);
const classes = new Classes(byId("classes"), outbox, recorder, {
  labels: () => project.state.labels.map(({ name }) => name),
  add: (name) => change(() => api.addLabel({ name })),
  rename: (label, name) => change(() => api.changeLabel(label, { name })),
  recolour: (label, colour) => change(() => api.changeLabel(label, { colour })),
  place: (label, position) => change(() => api.changeLabel(label, { position })),
  remove: (label) => changeAndTell(() => api.removeLabel(label), `${label} removed.`),
  chooseFiles: (label) => files.choose(label),
  addFiles: (label, dropped) => files.add(label, dropped),
  trim: (clip) => trimmer.open(clip).catch(notifyError),
  move: (clip, label) => changeAndTell(() => api.changeClip(clip.id, { label }), `Recording moved to ${label}.`),
  deleteClip: (clip) => changeAndTell(() => api.deleteClip(clip.id), "Recording deleted."),
  failed: notifyError,
});

/** What to do with each message of the server. docs/studio-protocol.md lists them. */
const RECEIVERS = {
  recording: ({ recording, examples }) => outbox.count(recording, examples),
  saved,
  refused: (message) => refusals.add(message),
  listening: (message) => hearing.receive(message),
  detection: (message) => hearing.detect(message),
  training: (message) => {
    training.receive(message);
    evaluation.wait(training.isRunning);
  },
  evaluation: (message) => {
    evaluation.receive(message);
    training.wait(evaluation.isRunning);
  },
  changed: () => session.refresh(),
  devices: () => phones.refresh(),
  error: ({ error }) => notifyError({ message: error }),
};

function showProject() {
  const { state, renamed } = project;
  // A label may get another name while it is recorded: the recording goes with it.
  outbox.rename(renamed);
  recorder.rename(renamed);
  outbox.settle(new Set(state.labels.flatMap(({ clips }) => clips.map(({ id }) => id))));
  setText(byId("project-name"), state.name);
  document.title = `${state.name} – Earmark studio`;
  changes.update(state);
  choice.update(state);
  classes.update(state);
  evaluation.update(state);
  training.update(state);
  listening.update();
  count.update();
}

function showOutbox() {
  scope.mark = outbox.running && project.colour(outbox.running.label);
  classes.count();
  count.update();
}

async function saved({ recording, clip, notes = [] }) {
  refusals.remove(recording);
  for (const note of notes) notify(note);
  outbox.saved(recording, clip);
  await session.refresh();
  // The project counts it now, if not under this name, since somebody changed it meanwhile.
  outbox.remove(recording);
  display.announce(`Saved. ${count.text}.`);
}

function takeChunk(chunk) {
  capture.take(chunk);
  sound.take(chunk.samples);
  if (recorder.label !== null) classes.count();
}

function microphoneChanged() {
  session.followRate();
  capture.follow();
}

function hear(message) {
  const { predictions, columns } = decode(message);
  hearing.predict(predictions);
  scope.add(columns);
}

/** There is one microphone, and nobody records what the page plays. */
function quiet() {
  player.stop();
  hearing.stop();
}

/** What a view does with the microphone ends when another one is chosen. */
function tabChanged() {
  recorder.finish();
  quiet();
  hearing.ask();
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

function wire() {
  microphone.addEventListener("state", microphoneChanged);
  project.addEventListener("change", showProject);
  outbox.addEventListener("change", showOutbox);
  recorder.addEventListener("wait", () => classes.count());
  recorder.attachDigits((position) => (isProjectShown() ? project.state?.labels[position]?.name : undefined));
  live.onheard = hear;
  live.onmessage = (message) => RECEIVERS[message.type]?.(message);
  tabs.addEventListener("change", tabChanged);
  byId("skip").addEventListener("click", skip);
  addEventListener("beforeunload", (event) => outbox.unsaved.length > 0 && event.preventDefault());
}

async function start() {
  wire();
  showView();
  await session.load();
  await phones.refresh();
  sound.isPhone = phones.isPhone;
  await capture.restore();
  microphone.onchunk = takeChunk;
  live.connect();
  if (await microphone.isAllowed()) microphone.start();
}

start();
