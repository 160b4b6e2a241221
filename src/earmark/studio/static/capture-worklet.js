/** Runs on the audio thread: collects the microphone's sound into chunks of 1,024 mono samples, about a frame. */

const CHUNK_SAMPLES = 1_024;

class Capture extends AudioWorkletProcessor {
  #samples = new Float32Array(CHUNK_SAMPLES);
  #filled = 0;

  process([channels]) {
    if (channels.length === 0) return true;
    for (let i = 0; i < channels[0].length; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.#samples[this.#filled++] = sum / channels.length;
      if (this.#filled === CHUNK_SAMPLES) this.#send();
    }
    return true;
  }

  #send() {
    const samples = this.#samples;
    this.port.postMessage({ samples, captured: Date.now() }, [samples.buffer]);
    this.#samples = new Float32Array(CHUNK_SAMPLES);
    this.#filled = 0;
  }
}

registerProcessor("capture", Capture);
