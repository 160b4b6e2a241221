/** Small helpers to build and find parts of the page. */

/**
 * The element with this id, which index.html promises to hold.
 * @param {string} id
 * @returns {any}
 */
export const byId = (id) => document.getElementById(id);

/**
 * Make an element.
 * @param {string} tag
 * @param {Record<string, any>} [settings] listeners, attributes (with a dash, or `role`), properties
 * @param {...(Node|string)} children
 * @returns {any}
 */
export function element(tag, settings = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(settings)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name.includes("-") || name === "role") node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children);
  return node;
}

const SVG = "http://www.w3.org/2000/svg";

/**
 * Make an SVG element.
 * @param {string} tag
 * @param {Record<string, string|number>} [attributes]
 * @param {...(Node|string)} children
 * @returns {SVGElement}
 */
export function drawing(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

/**
 * An icon of icons.svg.
 * @param {string} name
 * @returns {SVGElement}
 */
export const icon = (name) =>
  drawing("svg", { class: "icon", "aria-hidden": "true" }, drawing("use", { href: `/static/icons.svg#${name}` }));

/**
 * A button that shows only an icon; its name must be set as `aria-label`.
 * @param {string} name of the icon
 * @param {Record<string, any>} settings
 * @returns {HTMLButtonElement}
 */
export const iconButton = (name, settings) =>
  element("button", { type: "button", className: "icon-button", ...settings }, icon(name));

/**
 * Exchange the picture of an icon that `icon` made.
 * @param {Element} parent
 * @param {string} name
 */
export const setIcon = (parent, name) => parent.querySelector("use").setAttribute("href", `/static/icons.svg#${name}`);

/**
 * Write a text, but touch the page only where it differs: what is untouched is not drawn or read aloud again.
 * @param {Element} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Put children into this order by moving as few as possible, and leave the keyboard's focus where it was.
 * @param {Element} parent
 * @param {Element[]} children
 */
export function arrange(parent, children) {
  const focused = /** @type {HTMLElement} */ (document.activeElement);
  const wanted = new Set(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let next = parent.firstElementChild;
  for (const child of children) {
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
  }
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
}

/**
 * What a person enters into a control. No state of the server that is older than it undoes it: while a change is on its
 * way, the control shows what is wanted.
 */
export class Entry {
  #write;
  #isBusy;
  #known;
  #waiting = 0;
  #last = Promise.resolve();

  /**
   * @param {(value: any) => void} write shows a value
   * @param {() => boolean} [isBusy] whether somebody is about to enter something
   */
  constructor(write, isBusy = () => false) {
    this.#write = write;
    this.#isBusy = isBusy;
  }

  /** Show what the server has, now or once nothing newer is under way. */
  show(value) {
    this.#known = value;
    if (this.#waiting === 0 && !this.#isBusy()) this.#write(value);
  }

  /**
   * Change it there: one change after the other, as they would else overtake one another.
   * @param {() => Promise<any>} send ends once the answer has been shown, or the failure told
   */
  save(send) {
    this.#waiting++;
    this.#last = this.#last.then(send).finally(() => {
      this.#waiting--;
      this.show(this.#known);
    });
    return this.#last;
  }
}

/**
 * Have a button do what it said when it was pressed: until it is let go, a message of the server may change its text.
 * @template T
 * @param {HTMLButtonElement} button
 * @param {() => T} meaning of the button now
 * @param {(meant: T) => void} act
 */
export function onPress(button, meaning, act) {
  /** @type {T[]} */
  let pressed = [];
  const press = () => (pressed = [meaning()]);
  button.addEventListener("pointerdown", press);
  button.addEventListener("keydown", ({ key }) => (key === " " || key === "Enter") && press());
  button.addEventListener("click", () => {
    const [meant] = pressed.length ? pressed : [meaning()];
    pressed = [];
    act(meant);
  });
}

/**
 * Whether a key pressed there is text, and so no shortcut.
 * @param {EventTarget} target
 */
export const isTyping = (target) =>
  target instanceof Element &&
  target.matches("input:not([type=range], [type=color], [type=radio]), textarea, select, [contenteditable]");

/**
 * @param {number} count
 * @param {string} one what one is called
 */
export const counted = (count, one) => `${count} ${one}${count === 1 ? "" : "s"}`;

/**
 * Show how far a job is, or nothing.
 * @param {HTMLElement} line its text and its bar
 * @param {import("./api.js").Progress|null} progress
 */
export function showProgress(line, progress) {
  line.hidden = !progress;
  if (!progress) return;
  const { what, done, count } = progress;
  const [text, bar] = /** @type {any} */ (line.children);
  setText(text, `${what}: ${done} of ${count}`);
  bar.max = count;
  bar.value = done;
}

/** @param {number} seconds */
export const duration = (seconds) => `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;

/**
 * For what comes faster than the screen shows it.
 * @param {() => void} draw
 * @returns {() => void} has `draw` called in the screen's next frame, once however often it is asked
 */
export function onceAFrame(draw) {
  let isScheduled = false;
  return () => {
    if (isScheduled) return;
    isScheduled = true;
    requestAnimationFrame(() => {
      isScheduled = false;
      draw();
    });
  };
}
