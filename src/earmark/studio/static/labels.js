/** What labels and recordings are called where a person reads it. */

const RESERVED = { _background_noise_: "Background noise", _unknown_: "Something else" };

/** Whether a label stands for what is nothing that was taught. @param {string} label */
export const isReserved = (label) => label in RESERVED;

/** @param {string} label */
export const labelName = (label) => RESERVED[label] ?? label;

/**
 * Why nothing can be learnt on the project's base now, "" if it can.
 * @param {Pick<import("./api.js").ProjectState, "base"|"bases">} state
 */
export const baseObstacle = ({ base, bases }) =>
  bases.some(({ name, remedy }) => name === base && remedy !== null)
    ? `${base} can't be used with these recordings or on this computer. Choose another base.`
    : "";

/**
 * What the project counts: of words, recordings; of short sounds, windows cut from them.
 * @param {{mode: string}} state
 */
export const unit = ({ mode }) => (mode === "words" ? "recording" : "example");
