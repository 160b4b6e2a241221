/** The microphone: permission, choice of device, and sound in chunks. */

const REMEMBERED = "earmark.device";
const REMEDIES = {
  NotAllowedError:
    "The browser does not let the studio use the microphone. Allow it in the browser's address bar, then try again.",
  NotFoundError: "No microphone was found. Plug one in, then try again.",
  NotReadableError: "Another program is using the microphone. Close that program, then try again.",
  Insecure:
    "The browser gives the microphone to secure pages only. Open the studio as http://localhost, or over https.",
};
const WAKING = 300; // ms that a context may take to start
const CONSTRAINTS = { echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1 };

/** @typedef {{samples: Float32Array, captured: number}} Chunk */

/** Dispatches `state` when it is turned on or off or falls asleep, and `devices` when the choice of devices changes. */
export class Microphone extends EventTarget {
  /** @type {"off"|"starting"|"on"} */
  state = "off";
  /** What is wrong, and what to do about it. */
  problem = "";
  /** @type {MediaDeviceInfo[]} */
  devices = [];
  /** @type {(chunk: Chunk) => void} */
  onchunk = () => {};
  /** @type {MediaStream|null} */
  #stream = null;
  /** @type {AudioContext|null} */
  #context = null;
  /** Whether another device was chosen while one was being opened. */
  #isOutdated = false;

  constructor() {
    super();
    navigator.mediaDevices?.addEventListener("devicechange", () => this.#readDevices());
  }

  /** Samples a second, 0 while it is off. */
  get rate() {
    return this.#context?.sampleRate ?? 0;
  }

  get deviceId() {
    return this.#stream?.getAudioTracks()[0]?.getSettings().deviceId ?? "";
  }

  /** Whether the browser holds the sound back until a click. */
  get isAsleep() {
    return this.state === "on" && this.#context?.state !== "running";
  }

  async isAllowed() {
    const asked = await navigator.permissions?.query({ name: /** @type {any} */ ("microphone") }).catch(() => null);
    return asked?.state === "granted";
  }

  /**
   * Turn it on, or change to another device. While it starts, only another device is news.
   * @param {string} [deviceId]
   */
  async start(deviceId) {
    if (deviceId) localStorage.setItem(REMEMBERED, deviceId);
    if (deviceId) this.#isOutdated = true;
    if (this.state === "starting") return;
    this.#enter("starting");
    let failure = null;
    do {
      this.#isOutdated = false;
      this.#close();
      failure = await this.#open(localStorage.getItem(REMEMBERED) ?? undefined).catch((error) => error);
    } while (this.#isOutdated);
    if (failure) this.stop(remedy(failure));
    else this.#enter("on");
    await this.#readDevices();
  }

  /** @param {string} [deviceId] @returns {Promise<any>} */
  async #open(deviceId) {
    if (!window.isSecureContext || !navigator.mediaDevices) throw new DOMException("", "Insecure");
    this.#stream = await openDevice(deviceId);
    this.#stream
      .getAudioTracks()[0]
      .addEventListener("ended", () =>
        this.stop("The microphone was unplugged or taken away. Plug it in or allow it, then turn it on again."),
      );
    this.#context = new AudioContext({ latencyHint: "interactive" });
    this.#context.addEventListener("statechange", () => this.dispatchEvent(new Event("state")));
    await this.#context.audioWorklet.addModule("/static/capture-worklet.js");
    this.#connect(this.#context);
    // Without a gesture this promise waits for one; `isAsleep` then tells the page to ask for it.
    await Promise.race([this.#context.resume(), new Promise((resolve) => setTimeout(resolve, WAKING))]);
  }

  #connect(context) {
    const capture = new AudioWorkletNode(context, "capture");
    // What the worklet gets was in the device's own buffers before.
    const delay = 1_000 * (this.#stream.getAudioTracks()[0].getSettings().latency ?? 0);
    capture.port.onmessage = ({ data: { samples, captured } }) =>
      this.#context === context && this.onchunk({ samples, captured: captured - delay });
    context.createMediaStreamSource(this.#stream).connect(capture);
    // Some browsers run only what leads to the loudspeaker; the worklet's output is silence.
    capture.connect(context.destination);
  }

  /** Turn it off. @param {string} [problem] why, if not because the user wants it */
  stop(problem = "") {
    this.#close();
    this.problem = problem;
    this.#enter("off");
  }

  #close() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#context?.close().catch(() => {});
    this.#stream = this.#context = null;
    this.problem = "";
  }

  wake() {
    this.#context?.resume().catch(() => {});
  }

  #enter(state) {
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }

  async #readDevices() {
    const devices = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
    this.devices = devices.filter((device) => device.kind === "audioinput" && device.deviceId);
    this.dispatchEvent(new Event("devices"));
  }
}

/** Open this device; the usual one where none is named, or where it is gone. */
async function openDevice(deviceId) {
  const open = (device) => navigator.mediaDevices.getUserMedia({ audio: { ...CONSTRAINTS, ...device } });
  if (!deviceId) return open({});
  return open({ deviceId: { exact: deviceId } }).catch((error) => {
    if (error.name === "OverconstrainedError" || error.name === "NotFoundError") return open({});
    throw error;
  });
}

function remedy(error) {
  return REMEDIES[error.name] ?? `The microphone can't be used: ${error.message || error.name}. Try another one.`;
}

/**
 * @param {Float32Array} samples
 * @returns {number} the highest level in dBFS, −Infinity for silence
 */
export function peakLevel(samples) {
  let peak = 0;
  for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
  return 20 * Math.log10(peak);
}
