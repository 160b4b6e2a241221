/** Notices at the edge of the page: what happened, and what can be done about it. */

import { byId, element, icon } from "./dom.js";

const SHOWN_FOR = 8_000; // ms
const MOST = 4;

/**
 * Show a notice.
 * @param {string} text
 * @param {object} [options]
 * @param {boolean} [options.stays] until it is closed
 * @param {boolean} [options.isError]
 * @param {string[]} [options.details] listed below the text
 * @param {{text: string, run: () => void}} [options.action]
 * @param {() => void} [options.onclosed] when the user closes it
 * @returns {() => void} takes the notice away
 */
export function notify(text, { stays = false, isError = false, details = [], action, onclosed } = {}) {
  const notice = element("div", { className: isError ? "notice error" : "notice", role: isError ? "alert" : "status" });
  const close = () => notice.remove();
  const body = element("div", { className: "notice-text" }, element("p", { textContent: text }));
  if (details.length) body.append(element("ul", { tabIndex: 0, "aria-label": "Details" }, ...details.map((detail) => element("li", { textContent: detail }))));
  notice.append(body);
  if (action) notice.append(element("button", { type: "button", textContent: action.text, onclick: () => (close(), action.run()) }));
  notice.append(element("button", { type: "button", className: "icon-button", "aria-label": "Close", onclick: () => (close(), onclosed?.()) }, icon("close")));
  const notices = byId("notices");
  notices.append(notice);
  const passing = [...notices.querySelectorAll("[data-passing]")];
  if (notices.childElementCount > MOST) passing[0]?.remove();
  if (!stays) closeLater(notice);
  return close;
}

/** Wait on while somebody reads: the pointer or the focus is on it. */
function closeLater(notice) {
  notice.dataset.passing = "";
  const wait = () => setTimeout(() => (notice.matches(":hover, :focus-within") ? wait() : notice.remove()), SHOWN_FOR);
  wait();
}

/** Show that something failed. @param {Error} error its message is shown */
export function notifyError(error) {
  notify(error.message, { isError: true, stays: true });
}
