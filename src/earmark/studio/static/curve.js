/** The training curve: loss and accuracy after each epoch. */

import { drawing } from "./dom.js";

const WIDTH = 300;
const HEIGHT = 100;
const CAPTIONS = 94; // their baseline
const PLOT = { left: 34, right: 270, top: 8, bottom: 76 };

/**
 * @param {HTMLElement} figure
 * @param {import("./api.js").Epoch[]} epochs
 */
export function drawCurve(figure, epochs) {
  if (epochs.length === 0) return figure.replaceChildren();
  const last = epochs.at(-1);
  const most = Math.max(last.epochs ?? 0, last.epoch, 2);
  const highest = Math.max(...epochs.map(({ loss }) => loss), 0.1);
  const x = (epoch) => PLOT.left + ((epoch - 1) / (most - 1)) * (PLOT.right - PLOT.left);
  const y = (share) => PLOT.bottom - share * (PLOT.bottom - PLOT.top);
  const line = (className, share) =>
    curve(
      className,
      epochs.map((epoch) => [x(epoch.epoch), y(share(epoch))]),
    );
  figure.replaceChildren(
    drawing(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": summary(epochs) },
      ...grid(y, highest),
      ...axis(x, most),
      ...legend(),
      line("loss", ({ loss }) => loss / highest),
      line("accuracy", ({ accuracy }) => accuracy),
    ),
  );
}

function grid(y, highest) {
  return [0, 0.5, 1].flatMap((share) => [
    drawing("line", { class: "grid", x1: PLOT.left, x2: PLOT.right, y1: y(share), y2: y(share) }),
    drawing("text", { x: PLOT.left - 5, y: y(share) + 3.5, "text-anchor": "end" }, `${100 * share}%`),
    drawing("text", { x: PLOT.right + 5, y: y(share) + 3.5 }, (share * highest).toFixed(1)),
  ]);
}

function axis(x, most) {
  return [
    drawing("text", { x: x(1), y: CAPTIONS }, "Epoch 1"),
    drawing("text", { x: x(most), y: CAPTIONS, "text-anchor": "end" }, String(most)),
  ];
}

function legend() {
  const key = (className, x, text) =>
    drawing(
      "g",
      { class: className },
      drawing("polyline", { points: `${x},${CAPTIONS - 3.5} ${x + 18},${CAPTIONS - 3.5}` }),
      drawing("text", { x: x + 23, y: CAPTIONS }, text),
    );
  return [key("accuracy", 105, "Accuracy"), key("loss", 190, "Loss")];
}

function curve(className, points) {
  const [endX, endY] = points.at(-1);
  return drawing(
    "g",
    { class: className },
    drawing("polyline", { points: points.map((point) => point.map((value) => value.toFixed(1)).join()).join(" ") }),
    drawing("circle", { cx: endX, cy: endY, r: 3 }),
  );
}

function summary(epochs) {
  const [first, last] = [epochs[0], epochs.at(-1)];
  const figures = ({ accuracy, loss }) => `accuracy ${(100 * accuracy).toFixed(1)}%, loss ${loss.toFixed(3)}`;
  return `Training curve. Epoch ${first.epoch}: ${figures(first)}. Epoch ${last.epoch}: ${figures(last)}.`;
}
