/** The colours of palette.css, for scripts that draw. */

const style = getComputedStyle(document.documentElement);

/** @param {string} name without its dashes @returns {string} */
export const colour = (name) => style.getPropertyValue(`--${name}`).trim();

/** @param {string} name of a row of colours @returns {string[]} each as #rrggbb */
export const colours = (name) => colour(name).split(/\s+/);
