"""The reference for the front end: Chromium's own AnalyserNode, read at exact sample positions."""

from __future__ import annotations

import base64

import numpy as np
import numpy.typing as npt
from playwright.sync_api import Page

# An offline context computes no faster than it is told: suspended at every 1,024th sample, its analyser is read there.
SCRIPT = """
async ({samples, bins}) => {
  const bytes = Uint8Array.from(atob(samples), letter => letter.charCodeAt(0));
  const sound = new Float32Array(bytes.buffer);
  const frames = Math.floor(sound.length / 1024);
  const context = new OfflineAudioContext(1, frames * 1024 + 128, 44100);
  const buffer = context.createBuffer(1, sound.length, 44100);
  buffer.copyToChannel(sound, 0);
  const source = new AudioBufferSourceNode(context, {buffer});
  const analyser = new AnalyserNode(context, {fftSize: 2048, smoothingTimeConstant: 0});
  source.connect(analyser).connect(context.destination);
  source.start();
  const rows = new Float32Array(frames * bins);
  const row = new Float32Array(analyser.frequencyBinCount);
  for (let frame = 0; frame < frames; frame++) {
    context.suspend((frame + 1) * 1024 / 44100).then(() => {
      analyser.getFloatFrequencyData(row);
      rows.set(row.subarray(0, bins), frame * bins);
      context.resume();
    });
  }
  await context.startRendering();
  let text = '';
  const out = new Uint8Array(rows.buffer);
  for (let at = 0; at < out.length; at += 32768) text += String.fromCharCode(...out.subarray(at, at + 32768));
  return btoa(text);
}
"""


def analyser_frames(page: Page, samples: npt.NDArray[np.float32], bins: int = 232) -> npt.NDArray[np.float32]:
    """What an AnalyserNode of FFT size 2,048 sees every 1,024 samples at 44.1 kHz, in dB, shape [frames, bins]."""
    encoded = base64.b64encode(samples.astype("<f4").tobytes()).decode()
    answer = page.evaluate(SCRIPT, {"samples": encoded, "bins": bins})
    return np.frombuffer(base64.b64decode(answer), "<f4").reshape(-1, bins)
