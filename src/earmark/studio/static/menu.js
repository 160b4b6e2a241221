/** The page's only menu. It opens beside the button that asks for it. */

import { byId, element, iconButton } from "./dom.js";

const MARGIN = 8; // CSS pixels to the edge of the window
const STEPS = { ArrowDown: 1, ArrowUp: -1 };

/** @typedef {{text: string, run: () => void, isOff?: boolean}} Item */

/**
 * A button that opens the menu.
 * @param {() => Item[]} items
 * @param {Record<string, any>} [settings]
 * @returns {HTMLButtonElement}
 */
export function menuButton(items, settings) {
  const expansion = { "aria-haspopup": "menu", "aria-expanded": "false" };
  const button = iconButton("more", { ...expansion, ...settings, onclick: () => openMenu(button, items()) });
  return button;
}

/** Open it at a button, which the browser gives the focus back when it closes. */
function openMenu(anchor, items) {
  const menu = byId("menu");
  menu.replaceChildren(...items.map((item) => menuItem(menu, item)));
  menu.setAttribute("aria-label", anchor.getAttribute("aria-label"));
  menu.onkeydown = (event) => step(menu, event);
  menu.onbeforetoggle = ({ newState }) => anchor.setAttribute("aria-expanded", String(newState === "open"));
  menu.showPopover();
  place(menu, anchor.getBoundingClientRect());
  menu.querySelector("button:enabled")?.focus();
}

function menuItem(menu, { text, run, isOff = false }) {
  const choose = () => {
    menu.hidePopover();
    run();
  };
  return element("button", {
    type: "button",
    role: "menuitem",
    tabIndex: -1,
    textContent: text,
    disabled: isOff,
    onclick: choose,
  });
}

function step(menu, event) {
  if (event.key === "Tab") menu.hidePopover();
  if (!(event.key in STEPS)) return;
  event.preventDefault();
  const items = [...menu.querySelectorAll("button:enabled")];
  const at = items.indexOf(/** @type {any} */ (document.activeElement));
  items.at((at + STEPS[event.key] + items.length) % items.length)?.focus();
}

function place(menu, anchor) {
  const { width, height } = menu.getBoundingClientRect();
  const below = anchor.bottom + 4;
  const fits = below + height + MARGIN <= innerHeight;
  menu.style.left = `${Math.max(MARGIN, Math.min(anchor.right - width, innerWidth - width - MARGIN))}px`;
  menu.style.top = `${fits ? below : Math.max(MARGIN, anchor.top - 4 - height)}px`;
}
