/** The names of labels and recordings as the user sees them. */

const RESERVED = { _background_noise_: "Background noise", _unknown_: "Something else" };

/** Whether a label stands for what is nothing that was taught. @param {string} label */
export const isReserved = (label) => label in RESERVED;

/** @param {string} label */
export const labelName = (label) => RESERVED[label] ?? label;

/**
 * Whether the project's base, chosen once, can't be used any more: for what was recorded since, or on this computer.
 * @param {Pick<import("./api.js").ProjectState, "base"|"bases">} state
 */
export const isBaseUnfit = ({ base, bases }) => bases.some(({ name, remedy }) => name === base && remedy !== null);

/**
 * What the project counts: of words, recordings; of short sounds, windows cut from them.
 * @param {{mode: string}} state
 */
export const unit = ({ mode }) => (mode === "words" ? "recording" : "example");
