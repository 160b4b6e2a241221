/** The page's views as tabs. The address holds the chosen one, so that reloads and bookmarks keep it. */

const STEPS = { ArrowRight: 1, ArrowLeft: -1 };

/** Dispatches `change` when another tab is chosen. */
export class Tabs extends EventTarget {
  /** @type {HTMLElement[]} */
  #tabs;

  /** @param {HTMLElement} list its tabs name their panel in `aria-controls` and their view in `data-view` */
  constructor(list) {
    super();
    this.#tabs = [.../** @type {NodeListOf<HTMLElement>} */ (list.querySelectorAll("[role=tab]"))];
    for (const tab of this.#tabs) tab.addEventListener("click", () => this.choose(tab.dataset.view));
    list.addEventListener("keydown", (event) => this.#step(event));
    addEventListener("hashchange", () => this.#follow());
    this.#follow();
  }

  /** The view that is shown. @returns {string} */
  get view() {
    return this.#chosen.dataset.view;
  }

  /** @returns {HTMLElement} */
  get panel() {
    return panelOf(this.#chosen);
  }

  get #chosen() {
    return this.#tabs.find((tab) => tab.getAttribute("aria-selected") === "true");
  }

  /** @param {string} view */
  choose(view) {
    if (view === this.view) return;
    for (const tab of this.#tabs) {
      const isChosen = tab.dataset.view === view;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1; // the Tab key goes on to the panel, the arrows to the other tabs
      panelOf(tab).hidden = !isChosen;
    }
    history.replaceState(null, "", `#${view}`);
    this.dispatchEvent(new Event("change"));
  }

  /** Show the view that the address names; any other address, like a link within the page, changes nothing. */
  #follow() {
    const named = location.hash.slice(1);
    if (this.#tabs.some((tab) => tab.dataset.view === named)) this.choose(named);
  }

  #step(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return; // with those, arrows are the browser's
    const at = this.#tabs.indexOf(event.target);
    const last = this.#tabs.length - 1;
    const next = { Home: 0, End: last }[event.key] ?? (at + STEPS[event.key] + last + 1) % (last + 1);
    if (at < 0 || !(next in this.#tabs)) return;
    event.preventDefault();
    this.#tabs[next].focus();
    this.choose(this.#tabs[next].dataset.view);
  }
}

const panelOf = (tab) => document.getElementById(tab.getAttribute("aria-controls"));
