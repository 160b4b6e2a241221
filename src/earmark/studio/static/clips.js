/** A label's recordings, shown as spectrograms to play, trim, move and delete. */

import * as api from "./api.js";
import { arrange, duration, element, icon, iconButton, setIcon } from "./dom.js";
import { menuButton } from "./menu.js";
import { player } from "./player.js";
import { drawClip } from "./spectrogram.js";

/** The type of a clip that is dragged to another label. */
export const CLIP_TYPE = "application/x-earmark-clip";
const FOLD = 4; // bins a row: a thumbnail is 58 pixels high

/**
 * @typedef {object} ClipActions what the page can do with a clip
 * @property {() => string[]} labels
 * @property {(clip: import("./api.js").Clip) => void} trim
 * @property {(clip: import("./api.js").Clip, label: string) => void} move
 * @property {(clip: import("./api.js").Clip) => void} deleteClip
 * @property {(error: Error) => void} failed
 */

/** The list of a label's clips, newest first. */
export class ClipList {
  /** By what they show: a tile stays when its label is renamed, which gives its clip another id. @type {Map<string, Tile>} */
  #tiles = new Map();
  #list;
  #label;
  #actions;
  #isFirst = true;

  /**
   * @param {HTMLElement} list
   * @param {() => string} label
   * @param {ClipActions} actions
   */
  constructor(list, label, actions) {
    this.#list = list;
    this.#label = label;
    this.#actions = actions;
  }

  /** @param {import("./api.js").Clip[]} clips */
  update(clips) {
    const kept = new Map();
    clips.forEach((clip, i) => {
      const key = keyOf(clip);
      const tile = this.#tiles.get(key) ?? new Tile(clip, this.#label, this.#actions, !this.#isFirst);
      tile.update(clip, i + 1);
      kept.set(key, tile);
    });
    const heir = this.#heir(kept);
    for (const [key, tile] of this.#tiles) if (!kept.has(key)) tile.leave();
    this.#tiles = kept;
    this.#isFirst = false;
    arrange(
      this.#list,
      [...kept.values()].reverse().map((tile) => tile.node),
    );
    if (heir !== undefined) (heir ?? this.#list.closest(".card").querySelector(".record")).focus();
  }

  /** Who gets the focus when it lies in a tile that goes: the same button of a tile beside it, null for none. */
  #heir(kept) {
    const [, gone] = [...this.#tiles].find(
      ([key, tile]) => !kept.has(key) && tile.node.contains(document.activeElement),
    ) ?? [];
    if (!gone) return undefined;
    const place = [...gone.node.children].indexOf(/** @type {any} */ (document.activeElement));
    const beside = gone.node.nextElementSibling ?? gone.node.previousElementSibling;
    const heirs = [...(beside?.children ?? [])].slice(place); // what has no sound has no button to play it
    return heirs.find((node) => node.matches("button")) ?? null;
  }
}

/** @param {import("./api.js").Clip} clip */
const keyOf = ({ id, seconds, has_sound, error }) => JSON.stringify([id.split("/").at(-1), seconds, has_sound, error]);

class Tile {
  #clip;
  #label;
  #actions;
  #canvas = element("canvas", { width: 1, height: 1, "aria-hidden": "true" });
  #playhead = element("span", { className: "playhead", hidden: true });
  #picture;
  #more;
  #delete;
  #isPlaying = false;

  constructor(clip, label, actions, isNew) {
    this.#clip = clip;
    this.#label = label;
    this.#actions = actions;
    this.#delete = iconButton("delete", { title: "Delete", onclick: () => actions.deleteClip(this.#clip) });
    this.node = element("li", { className: isNew ? "clip new" : "clip" });
    if (clip.error) this.#buildBroken();
    else this.#build();
  }

  #build() {
    const length = element("span", { className: "duration", textContent: duration(this.#clip.seconds) });
    const silent = { className: "picture", role: "img", title: "No sound: only the spectrogram is left" };
    const playable = { type: "button", className: "picture", onclick: () => this.#play() };
    this.#picture = this.#clip.has_sound
      ? element("button", playable, this.#canvas, this.#playhead, icon("play"), length)
      : element("div", silent, this.#canvas, icon("silent"), length);
    this.#more = menuButton(() => this.#menu(), { title: "Trim or move" });
    this.node.append(this.#picture, this.#more, this.#delete);
    this.node.draggable = true;
    this.node.addEventListener("dragstart", (event) => {
      event.dataTransfer.setData(CLIP_TYPE, JSON.stringify(this.#clip));
      event.dataTransfer.effectAllowed = "move";
    });
    whenSeen(this.node, () => drawClip(this.#canvas, this.#clip.id, FOLD).catch(this.#actions.failed));
  }

  #buildBroken() {
    this.node.classList.add("broken");
    this.node.append(element("p", { textContent: this.#clip.error }), this.#delete);
  }

  /** @param {import("./api.js").Clip} clip with the id that it has now @param {number} number its place in time */
  update(clip, number) {
    this.#clip = clip;
    const name = `recording ${number} of ${this.#label()}`;
    this.#delete.setAttribute("aria-label", `Delete ${name}`);
    this.#more?.setAttribute("aria-label", `Trim or move ${name}`);
    const length = duration(this.#clip.seconds);
    const what = this.#clip.has_sound ? `Play ${name}, ${length}` : `Spectrogram of ${name}, ${length}, without sound`;
    this.#picture?.setAttribute("aria-label", what);
  }

  leave() {
    unwatch(this.node);
    if (this.#isPlaying) player.stop();
  }

  #menu() {
    const { labels, trim, move } = this.#actions;
    const others = labels().filter((label) => label !== this.#label());
    return [
      { text: "Trim…", run: () => trim(this.#clip) },
      ...others.map((label) => ({ text: `Move to ${label}`, run: () => move(this.#clip, label) })),
    ];
  }

  #play() {
    if (this.#isPlaying) return player.stop();
    const stopped = (error) => {
      this.#show(false);
      if (error) this.#actions.failed(error);
    };
    player.play(api.audioAddress(this.#clip.id), { onprogress: (seconds) => this.#progress(seconds), onstop: stopped });
    this.#show(true);
  }

  #show(isPlaying) {
    this.#isPlaying = isPlaying;
    this.#playhead.hidden = !isPlaying;
    this.#picture.classList.toggle("playing", isPlaying);
    setIcon(this.#picture, isPlaying ? "pause" : "play");
    this.#progress(0);
  }

  #progress(seconds) {
    this.#playhead.style.left = `${(100 * seconds) / this.#clip.seconds}%`;
  }
}

/** What to do for nodes when they first come into view. @type {WeakMap<Element, () => void>} */
const waiting = new WeakMap();
const watcher = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      waiting.get(target)?.();
      unwatch(target);
    }
  },
  { rootMargin: "200px" },
);

function whenSeen(node, run) {
  waiting.set(node, run);
  watcher.observe(node);
}

function unwatch(node) {
  waiting.delete(node);
  watcher.unobserve(node);
}
