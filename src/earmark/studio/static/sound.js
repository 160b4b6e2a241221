/** The microphone panel: help, choice of device, and level. */

import { byId, element, onceAFrame, setText } from "./dom.js";
import { peakLevel } from "./microphone.js";

const SILENT = -90; // dBFS
const SILENT_FOR = 3_000; // ms
const FLOOR = -100; // dBFS, the left end of the meter
const FALL = 40; // dB a second, so that short peaks can be seen

export class SoundPanel {
  /** Whether the page is on a phone, whose sound goes over the network. */
  isPhone = false;
  #microphone;
  #heardAt = 0;
  /** What the choice of devices offers. */
  #offered = "";
  #level = FLOOR;
  #drawnAt = 0;
  #schedule = onceAFrame(() => this.#draw());

  /** @param {import("./microphone.js").Microphone} microphone */
  constructor(microphone) {
    this.#microphone = microphone;
    microphone.addEventListener("state", () => this.#show());
    microphone.addEventListener("devices", () => this.#showDevices());
    byId("device").addEventListener("change", ({ target }) => microphone.start(target.value));
    byId("microphone-on").addEventListener("click", () =>
      microphone.isAsleep ? microphone.wake() : microphone.start(),
    );
    for (const gesture of ["pointerdown", "keydown"])
      addEventListener(gesture, () => microphone.isAsleep && microphone.wake());
  }

  /** @param {Float32Array} samples */
  take(samples) {
    const level = Math.max(FLOOR, peakLevel(samples));
    const now = performance.now();
    if (level > SILENT) this.#heardAt = now;
    this.#level = Math.max(level, this.#level - (FALL * (now - this.#drawnAt)) / 1_000);
    this.#drawnAt = now;
    this.#schedule();
  }

  #draw() {
    const level = byId("level");
    const rounded = Math.round(this.#level);
    level.firstElementChild.style.transform = `scaleX(${1 - this.#level / FLOOR})`;
    level.classList.toggle("loud", this.#level > -3);
    level.setAttribute("aria-valuenow", String(rounded));
    level.setAttribute("aria-valuetext", `${rounded} decibels`);
    setText(byId("level-text"), `${rounded} dB`);
    const isSilent = performance.now() - this.#heardAt > SILENT_FOR;
    setText(byId("silence"), isSilent ? "No sound comes in. Unmute the microphone or choose another one." : "");
  }

  #show() {
    const { state, problem, isAsleep } = this.#microphone;
    this.#heardAt = performance.now();
    byId("microphone-help").hidden = state === "on" && !isAsleep;
    byId("microphone-help").classList.toggle("problem", problem !== "");
    setText(byId("microphone-text"), helpText(state, problem, isAsleep, this.isPhone));
    const button = byId("microphone-on");
    button.disabled = state === "starting";
    setText(button.querySelector("span"), isAsleep ? "Start" : problem ? "Try again" : "Turn on microphone");
    if (state === "on") return;
    setText(byId("silence"), "");
    setText(byId("level-text"), "–");
    byId("level").firstElementChild.style.transform = "scaleX(0)";
    byId("level").setAttribute("aria-valuetext", "off");
  }

  #showDevices() {
    const { devices, deviceId, state } = this.#microphone;
    const select = byId("device");
    const options = devices.map((device, i) => ({ value: device.deviceId, textContent: device.label || `Microphone ${i + 1}` }));
    if (state !== "on") options.unshift({ value: "", textContent: "Turned off" });
    const offered = JSON.stringify(options);
    // Somebody may be choosing: what they choose from is exchanged only where it is another.
    if (offered !== this.#offered) select.replaceChildren(...options.map((option) => element("option", option)));
    this.#offered = offered;
    select.value = state === "on" ? deviceId : "";
    select.disabled = devices.length === 0;
  }
}

function helpText(state, problem, isAsleep, isPhone) {
  if (isAsleep) return "The browser waits for a click before it lets sound in.";
  if (state === "starting") return "The browser asks whether the studio may listen. Choose Allow.";
  const where = isPhone ? "goes to the studio's computer and no further" : "stays on this computer";
  return problem || `The studio listens through your microphone. The sound ${where}.`;
}
