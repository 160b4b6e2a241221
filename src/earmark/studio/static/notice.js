/** Notices at the edge of the page: what happened, and what the user can do about it. */

import { byId, element, iconButton } from "./dom.js";

const SHOWN_FOR = 8_000; // ms
const ERROR_SHOWN_FOR = 20_000; // ms
const MOST = 3;

/**
 * Show a notice.
 * @param {string} text
 * @param {object} [options]
 * @param {boolean} [options.stays] until it is closed or, unless it `keeps` its place, newer ones need that
 * @param {boolean} [options.keeps]
 * @param {boolean} [options.isError]
 * @param {string[]} [options.details] listed below the text
 * @param {{text: string, run: () => void, stays?: boolean}[]} [options.actions] each closes the notice, or `stays`
 * @returns {() => void} takes the notice away
 */
export function notify(text, { stays = false, isError = false, details = [], actions = [], keeps = false } = {}) {
  return showNotice(text, { stays, isError, details, actions, keeps }).close;
}

/**
 * As `notify`, for what is told anew as it goes on: its buttons stay where they are, as somebody may be about to press one.
 * @param {string} text
 * @param {Parameters<typeof notify>[1]} options
 * @returns {{close: () => void, retell: (text: string, details?: string[]) => boolean}} `retell` says whether it is
 *   still there
 */
export function showNotice(text, { stays = false, isError = false, details = [], actions = [], keeps = false } = {}) {
  const notice = element("div", { className: isError ? "notice error" : "notice", role: isError ? "alert" : "status" });
  const close = () => notice.remove();
  notice.append(message(text, details));
  for (const action of actions) notice.append(actionButton(action, close));
  notice.append(iconButton("close", { "aria-label": "Close", onclick: close }));
  byId("notices").append(notice);
  if (keeps) notice.dataset.keep = "";
  const others = byId("notices").querySelectorAll(".notice:not([data-keep])");
  if (others.length > MOST) others[0].remove();
  if (!stays) closeLater(notice, isError ? ERROR_SHOWN_FOR : SHOWN_FOR);
  const retell = (newText, newDetails = []) => {
    notice.querySelector(".notice-text").replaceChildren(...message(newText, newDetails).childNodes);
    return notice.isConnected;
  };
  return { close, retell };
}

function message(text, details) {
  const body = element("div", { className: "notice-text" }, element("p", {}, ...unbroken(text)));
  const items = details.map((detail) => element("li", {}, ...unbroken(detail)));
  // It can be focused, since it may have to be scrolled.
  if (items.length) body.append(element("ul", { tabIndex: 0, "aria-label": "Details" }, ...items));
  return body;
}

/** A text in parts, so that a command's options aren't broken into lines after their dashes. */
const unbroken = (text) =>
  text.split(/(--\S+)/).map((part, i) => (i % 2 ? element("span", { className: "option", textContent: part }) : part));

function actionButton({ text, run, stays = false }, close) {
  return element("button", { type: "button", textContent: text, onclick: () => (stays || close(), run()) });
}

/** Wait on while somebody reads: the pointer or the focus is on it. */
function closeLater(notice, delay) {
  const wait = () => setTimeout(() => (notice.matches(":hover, :focus-within") ? wait() : notice.remove()), delay);
  wait();
}

/** Show that something failed. @param {{message: string}} error */
export function notifyError(error) {
  notify(error.message, { isError: true });
}
