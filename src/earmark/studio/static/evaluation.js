/** The evaluation: start, cancel, and the results, in brief and in a dialog. */

import * as api from "./api.js";
import { byId, counted, element, onPress, setText, showProgress } from "./dom.js";
import { isBaseUnfit, isReserved, labelName } from "./labels.js";
import { notify, notifyError } from "./notice.js";

const UNDER_WAY = ["started", "progress"];
const percent = (share) => (share === null ? "–" : `${Math.round(100 * share)}%`);

export class Evaluation {
  isRunning = false;
  #button = byId("evaluate");
  #hint = byId("evaluation-hint");
  #bar = byId("evaluation-progress");
  #open = byId("evaluation-open");
  #dialog = byId("evaluation");
  #project;
  #display;
  #use;
  #isTraining = false;
  /** @type {import("./api.js").Progress|null} */
  #progress = null;
  /** @type {import("./api.js").Evaluation|null} */
  #result = null;
  /** Which evaluation `#result` is. */
  #key = "";
  /** What the dialog shows. */
  #shown = "";

  /**
   * @param {import("./project.js").Project} project
   * @param {import("./display.js").Display} display
   * @param {(threshold: number) => void} use a threshold from now on
   */
  constructor(project, display, use) {
    this.#project = project;
    this.#display = display;
    this.#use = use;
    onPress(this.#button, () => this.isRunning, (isRunning) => this.#toggle(isRunning));
    this.#open.addEventListener("click", () => this.#dialog.showModal());
  }

  /** @param {import("./api.js").ProjectState} state */
  update(state) {
    this.isRunning = state.evaluation.running;
    this.#progress = state.evaluation.progress;
    this.#isTraining = state.training.running;
    this.#read(state);
    this.#show();
  }

  /** @param {any} message an `evaluation` message of the server */
  receive(message) {
    this.isRunning = UNDER_WAY.includes(message.state);
    this.#progress = message.state === "progress" ? message : null;
    if (message.state === "done") this.#display.announce("The evaluation is done.");
    if (message.state === "cancelled") notify("The evaluation was cancelled.");
    if (message.state === "failed") notifyError({ message: message.error });
    this.#show();
  }

  /** @param {boolean} isTraining which must end first */
  wait(isTraining) {
    this.#isTraining = isTraining;
    this.#show();
  }

  /** @param {boolean} isRunning so that it is to be cancelled */
  async #toggle(isRunning) {
    try {
      await this.#project.change(isRunning ? api.cancelEvaluation : api.startEvaluation);
    } catch (error) {
      notifyError(error);
    }
  }

  /** Fetch the evaluation that the project has now, unless it is here. */
  async #read({ id, mode, base, evaluation }) {
    const key = JSON.stringify([id, mode, base, evaluation.created, evaluation.stale]);
    if (key === this.#key) return;
    this.#key = key;
    try {
      const result = evaluation.created ? await api.readEvaluation() : null;
      if (key !== this.#key) return; // another one was asked for meanwhile
      this.#result = result;
      this.#showDetails(result);
    } catch (error) {
      this.#key = "";
      if (error.isAnswer) notifyError(error);
    }
    this.#show();
  }

  /** Only where they are others: somebody may be reading them, or about to press a button among them. */
  #showDetails(result) {
    const shown = JSON.stringify([this.#project.state.mode, { ...result, stale: null }]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#dialog.querySelector(".body").replaceChildren(...(result ? this.#details(result) : []));
  }

  #show() {
    const obstacle = this.isRunning ? "" : this.#obstacle();
    setText(this.#button, this.isRunning ? "Cancel" : "Evaluate");
    // A name of its own, as the other button may read “Cancel” too.
    if (this.isRunning) this.#button.setAttribute("aria-label", "Cancel the evaluation");
    else this.#button.removeAttribute("aria-label");
    this.#button.disabled = obstacle !== "";
    this.#open.hidden = !this.#result || this.isRunning;
    setText(this.#hint, this.#sentence(obstacle));
    showProgress(this.#bar, this.isRunning ? this.#progress : null);
  }

  /** What keeps an evaluation from starting, "" for nothing. */
  #obstacle() {
    const { labels = [], mode } = this.#project.state ?? {};
    if (this.#isTraining) return "The training must end first.";
    const filled = labels.filter(({ examples }) => examples > 0).length;
    const canLeaveOut = labels.some(({ clips }) => clips.length > 1);
    if (!canLeaveOut || filled < (mode === "words" ? 1 : 2))
      return "To evaluate, make at least two recordings of a class, better ten.";
    return isBaseUnfit(this.#project.state) ? "To evaluate, choose another base." : "";
  }

  #sentence(obstacle) {
    if (this.isRunning) return "Each recording is recognized by a model that never heard it…";
    if (!this.#result) return obstacle;
    const told = `Evaluated: ${summary(this.#result)}`;
    return this.#result.stale ? `${told} The recordings changed since.` : told;
  }

  #details(result) {
    const { recommendation, advice, report, report_remedy: remedy } = result;
    const items = advice.map((sentence) => element("li", { textContent: sentence }));
    return [
      element("p", { className: "large", textContent: percent(result.accuracy.value) }),
      element("p", { textContent: `${summary(result)} ${sentenceCase(result.method)}.` }),
      element("h3", { textContent: "What to record next" }),
      items.length ? element("ul", { className: "advice" }, ...items) : text("Nothing stands out."),
      element("h3", { textContent: "Recommended threshold" }),
      this.#recommended(recommendation),
      element("h3", { textContent: "Classes" }),
      classTable(result.labels),
      element("h3", { textContent: "What was heard as what" }),
      confusionTable(result),
      report ? reportLink(report) : text(remedy ?? "There is no report: evaluate again."),
    ];
  }

  #recommended({ threshold, recall, how }) {
    const recordings = `${recall.hits} of ${counted(recall.count, "recording")}`;
    const detected = recall.count ? ` With it, ${recordings} are detected.` : "";
    const use = element("button", {
      type: "button",
      textContent: `Use ${threshold}`,
      hidden: this.#project.state.mode !== "words", // short sounds are heard window by window
      onclick: () => {
        this.#use(threshold);
        notify(`The threshold is ${threshold} now.`);
      },
    });
    const value = element("strong", { textContent: String(threshold) });
    return element("div", { className: "recommended" }, element("p", {}, value, ` ${how}${detected}`), use);
  }
}

const text = (textContent) => element("p", { textContent });
const sentenceCase = (words) => words.charAt(0).toUpperCase() + words.slice(1);

function summary({ accuracy: { hits, count, value, interval } }) {
  const [low, high] = interval.map(percent);
  return `${percent(value)} right, ${hits} of ${counted(count, "recording")} (95% interval ${low} to ${high}).`;
}

function reportLink(address) {
  const link = { className: "button", href: address, target: "_blank", rel: "noopener", textContent: "Full report" };
  return element("p", {}, element("a", link));
}

/** A share in a cell, with its counts. */
const share = ({ hits, count, value }) =>
  element("td", { textContent: count ? `${percent(value)} (${hits} of ${count})` : "–" });

function classTable(labels) {
  const rows = labels
    .filter(({ name, recordings }) => recordings > 0 || !isReserved(name))
    .map(({ name, recall, precision, recordings }) =>
      element("tr", {}, rowHead(name), share(recall), share(precision), element("td", { textContent: recordings })),
    );
  const head = ["Class", "Recognized (recall)", "Right when heard (precision)", "Recordings"];
  return table("Each class", head, rows);
}

/** Rows for what was said, columns for what was heard. */
function confusionTable({ labels, confusion }) {
  const rows = confusion.flatMap((heard, said) => {
    const total = heard.reduce((sum, count) => sum + count, 0);
    return total ? [element("tr", {}, rowHead(labels[said].name), ...heard.map((count) => cell(count, total)))] : [];
  });
  const head = ["Recordings of ↓ heard as →", ...labels.map(({ name }) => labelName(name))];
  return table("How often the recordings of each class were heard as each class", head, rows);
}

function cell(count, total) {
  const node = element("td", { className: "share", textContent: count || "·" });
  node.style.setProperty("--share", String(count / total));
  return node;
}

const rowHead = (name) => element("th", { scope: "row", textContent: labelName(name) });

/** A table that scrolls by itself where it is too wide. */
function table(name, head, rows) {
  const cells = head.map((title) => element("th", { scope: "col", textContent: title }));
  const parts = [element("thead", {}, element("tr", {}, ...cells)), element("tbody", {}, ...rows)];
  const scroller = { className: "table", tabIndex: 0, role: "region", "aria-label": name };
  const caption = element("caption", { className: "visually-hidden", textContent: name });
  return element("div", scroller, element("table", {}, caption, ...parts));
}
