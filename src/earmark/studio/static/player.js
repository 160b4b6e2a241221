/** Plays one clip at a time. */

class Player {
  #audio = new Audio();
  /** @type {(error?: Error) => void} */
  #stop = () => {};
  #frame = 0;

  /**
   * Play a sound; whatever played before stops.
   * @param {string} address
   * @param {object} options
   * @param {number} [options.start] in seconds
   * @param {number} [options.end] in seconds
   * @param {(seconds: number) => void} options.onprogress called for each picture on the screen
   * @param {(error?: Error) => void} options.onstop called once
   */
  async play(address, { start = 0, end = Infinity, onprogress, onstop }) {
    this.stop();
    const audio = (this.#audio = new Audio(address));
    this.#stop = onstop;
    audio.onended = () => audio === this.#audio && this.stop();
    const draw = () => {
      if (audio.currentTime >= end) return this.stop();
      onprogress(audio.currentTime);
      this.#frame = requestAnimationFrame(draw);
    };
    try {
      audio.currentTime = start;
      await audio.play();
      if (audio === this.#audio) draw();
    } catch {
      // A stop before the first sound rejects too, but that is no failure.
      if (audio === this.#audio) this.stop(new Error("This recording can't be played. Load the page again and retry."));
    }
  }

  /** @param {Error} [error] */
  stop(error) {
    cancelAnimationFrame(this.#frame);
    const stopped = this.#stop;
    this.#stop = () => {};
    const audio = this.#audio;
    this.#audio = new Audio();
    audio.pause();
    stopped(error);
  }
}

export const player = new Player();
