"""What we export, in the npm package speech-commands itself, in a real Chromium, as its users load it.

The steps: export a model (`earmark export … --to tfjs`); serve the folder; create('BROWSER_FFT', undefined, model.json,
metadata.json); ask for its labels; let it listen to a recording as the microphone, and recognize a clip; compare with
what Earmark makes of the same spectrogram.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import soxr
from playwright.sync_api import Page

import earmark
from earmark import Project, Recognizer, Result
from earmark.exchange.exporting import export_model
from earmark.exchange.serialized_examples import SerializedExample, write_examples
from earmark.front_end.spectrogram import compute_spectrogram
from tests import chirps
from tests.analyser import analyser_frames
from tests.browser import chromium, microphone_arguments
from tests.conftest import SHARED
from tests.corpus import clip_rows, read_row
from tests.npm import TEACHABLE_MACHINE_SCRIPTS, served

RATE, WINDOW = 44_100, 44 * 1_024
SPOKEN = ("stop", "left", "yes")

Array = npt.NDArray[np.float32]

CREATE = """
async folder => {
  const recognizer = speechCommands.create(
    'BROWSER_FFT', undefined, `${location.origin}/${folder}/model.json`, `${location.origin}/${folder}/metadata.json`);
  await recognizer.ensureModelLoaded();
  window.recognizer = recognizer;
  return {labels: recognizer.wordLabels(), shape: recognizer.modelInputShape()};
}
"""
RECOGNIZE = """
async window_ => {
  const bytes = Uint8Array.from(atob(window_), letter => letter.charCodeAt(0));
  const levels = tf.tensor(new Float32Array(bytes.buffer), [1, 43, 232, 1]);
  const {mean, variance} = tf.moments(levels);
  const normalized = levels.sub(mean).div(variance.sqrt().add(tf.backend().epsilon()));
  const {scores, embedding} = await recognizer.recognize(normalized, {includeEmbedding: true});
  return {scores: Array.from(scores), embedding: embedding.shape};
}
"""
# Listens until it has heard each of these labels well, and eight windows whole; the microphone repeats the words.
LISTEN = """
async wanted => {
  const heard = [];
  await recognizer.listen(async result => {
    heard.push({scores: Array.from(result.scores), levels: Array.from(result.spectrogram.data)});
  }, {includeSpectrogram: true, probabilityThreshold: 0, invokeCallbackOnNoiseAndUnknown: true, overlapFactor: 0.5,
      suppressionTimeMillis: 0});
  for (let waited = 0; waited < 180_000; waited += 500) {
    await new Promise(resolve => setTimeout(resolve, 500));
    const whole = heard.filter(({levels}) => levels.every(level => Number.isFinite(level) && level !== 0));
    if (whole.length >= 8 && wanted.every(label => whole.some(({scores}) => scores[label] > 0.95))) break;
  }
  await recognizer.stopListening();
  return heard;
}
"""


TRAIN = """
async () => {
  window.transfer = recognizer.createTransfer('taught');
  const bytes = await (await fetch('examples.bin')).arrayBuffer();
  transfer.loadExamples(bytes);
  const counts = transfer.countExamples();
  await transfer.train({epochs: 50});
  return counts;
}
"""
# A page that calls the package as the code does which Teachable Machine shows for a model: the same calls, the same
# options. Its scripts are of the versions that are named there.
TEACHABLE_MACHINE = """<!doctype html><meta charset="utf-8"><title>a model</title>
<div id="label-container"></div>
<script src="tf.js"></script><script src="speech-commands.js"></script>
<script>
  const URL = location.origin + '/model/';
  async function createModel() {
    const recognizer = speechCommands.create('BROWSER_FFT', undefined, URL + 'model.json', URL + 'metadata.json');
    await recognizer.ensureModelLoaded();
    return recognizer;
  }
  async function init() {
    const recognizer = await createModel();
    const labels = recognizer.wordLabels();
    const container = document.getElementById('label-container');
    labels.forEach(() => container.appendChild(document.createElement('div')));
    recognizer.listen(result => {
      labels.forEach((label, i) => container.childNodes[i].innerHTML = label + ': ' + result.scores[i].toFixed(2));
    }, {includeSpectrogram: true, probabilityThreshold: 0.75, invokeCallbackOnNoiseAndUnknown: true,
        overlapFactor: 0.50});
  }
</script>"""
# What that page is given is noted before it gets it.
NOTE = """
() => {
  window.heard = [];
  const {create} = speechCommands;
  speechCommands.create = (...options) => {
    const recognizer = create(...options);
    const listen = recognizer.listen.bind(recognizer);
    recognizer.listen = (callback, config) => listen(result => {
      heard.push({scores: Array.from(result.scores), levels: Array.from(result.spectrogram.data)});
      return callback(result);
    }, config);
    return recognizer;
  };
}
"""


# Whether each of these labels was the most probable one of a window that was heard whole.
HEARD = """
wanted => {
  const whole = heard.filter(({levels}) => levels.every(level => Number.isFinite(level) && level !== 0));
  const found = whole.map(({scores}) => scores.indexOf(Math.max(...scores)));
  return wanted.every(label => found.includes(label));
}
"""


@pytest.fixture(scope="module")
def words(recordings: Path) -> dict[str, Array]:
    """A recording of each of three words, by speakers that training never saw, one second and a bit at 44.1 kHz."""
    found = {}
    for row in clip_rows(recordings, "speech_commands"):
        if row["split"] == "val" and row["word"] in SPOKEN and row["word"] not in found:
            samples, rate = read_row(recordings, "speech_commands", row)
            clip = soxr.resample(samples, rate, RATE)[:WINDOW]
            room = np.random.default_rng(0).normal(0, 3e-4, WINDOW)
            room[: len(clip)] += clip
            found[row["word"]] = room.astype(np.float32).clip(-1, 1)
    return found


def exported(recognizer: Recognizer, folder: Path, to: str = "tfjs") -> Recognizer:
    assert export_model(recognizer, folder, to) == []
    return recognizer


def compared(ours: Recognizer, heard: list[dict[str, Any]]) -> list[Result]:
    """What we make of the windows that a page heard whole, which is what the page makes of them.

    What is missing at first is 0 in a window of the package, and a frame of digital silence is −∞ or nearly.
    """
    whole = [one for one in heard if np.isfinite(one["levels"]).all() and np.all(one["levels"])]
    results = ours.recognize_batch(np.array([one["levels"] for one in whole], np.float32).reshape(-1, 43, 232))
    difference = max(np.abs(one["scores"] - result.scores).max() for one, result in zip(whole, results, strict=True))
    print(f"{len(whole)} of {len(heard)} windows heard whole, largest difference {difference:.1e}")
    assert difference <= 1e-3
    return results


def recognized(page: Page, levels: Array) -> dict[str, Any]:
    answer: dict[str, Any] = page.evaluate(RECOGNIZE, base64.b64encode(levels.astype("<f4").tobytes()).decode())
    return answer


@pytest.mark.slow
def test_words_is_a_drop_in(words: dict[str, Array], tmp_path: Path) -> None:
    ours = exported(earmark.load("words"), tmp_path / "words")
    with served(tmp_path) as address, chromium() as browser:
        page = browser.new_page()
        page.goto(address)
        assert page.evaluate(CREATE, "words") == {"labels": list(ours.labels), "shape": [None, 43, 232, 1]}
        for word, clip in words.items():
            theirs = recognized(page, analyser_frames(page, clip)[1:])  # the first frame sees the silence before
            result = ours.recognize(clip, RATE)
            assert result.labels[int(np.argmax(theirs["scores"]))] == result.label == word
            np.testing.assert_allclose(theirs["scores"], result.scores, atol=1e-3)
            assert theirs["embedding"] == [1, 192]


@pytest.mark.slow
def test_it_hears_the_microphone_as_earmark_does(words: dict[str, Array], tmp_path: Path) -> None:
    ours = exported(earmark.load("words"), tmp_path / "words")
    hiss = np.random.default_rng(1).normal(0, 3e-4, RATE // 2).astype(np.float32)
    talk = np.concatenate([part for clip in words.values() for part in (clip, hiss)])
    soundfile.write(tmp_path / "talk.wav", talk, RATE)
    with served(tmp_path) as address, chromium(*microphone_arguments(tmp_path / "talk.wav")) as browser:
        page = browser.new_page()
        page.goto(address)
        page.evaluate(CREATE, "words")
        heard = page.evaluate(LISTEN, [ours.labels.index(word) for word in SPOKEN])
    results = compared(ours, heard)
    assert len(results) >= 8
    assert {result.label for result in results if result.score > 0.9} >= set(SPOKEN)


@pytest.mark.slow
def test_a_model_of_the_package_scores_there_as_it_does_here(words: dict[str, Array], tmp_path: Path) -> None:
    """What the package made itself goes there and back."""
    folder = SHARED / "fixtures" / "tfjs_speech_commands" / "browser_fft_18w"
    if not folder.is_dir():
        pytest.skip("needs the models in ../shared/fixtures")
    recognizer = earmark.load(folder)
    export_model(recognizer, tmp_path / "model", "tfjs")
    with served(tmp_path) as address, chromium() as browser:
        page = browser.new_page()
        page.goto(address)
        page.evaluate(CREATE, "model")
        for word, clip in words.items():
            theirs = recognized(page, analyser_frames(page, clip)[1:])
            result = recognizer.recognize(clip, RATE)
            assert recognizer.labels[int(np.argmax(theirs["scores"]))] == result.label == word
            np.testing.assert_allclose(theirs["scores"], result.scores, atol=1e-3)


@pytest.mark.slow
def test_the_package_trains_on_words_and_on_examples_of_ours(words: dict[str, Array], tmp_path: Path) -> None:
    """createTransfer on our export, loadExamples of a set that we wrote, train: its transfer learning as it is used."""
    export_model(earmark.load("words"), tmp_path / "words", "tfjs")
    room = np.random.default_rng(2).normal(0, 3e-4, WINDOW).astype(np.float32)
    examples = [
        SerializedExample(label, compute_spectrogram(clip, silence_before=False), None, clip, RATE)
        for label, clip in [("_background_noise_", room), *words.items()]
    ]
    (tmp_path / "examples.bin").write_bytes(write_examples(examples))
    with served(tmp_path) as address, chromium() as browser:
        page = browser.new_page()
        page.goto(address)
        page.evaluate(CREATE, "words")
        counts = page.evaluate(TRAIN)
        assert counts == dict.fromkeys(["_background_noise_", *words], 1)
        labels = page.evaluate("transfer.wordLabels()")
        page.evaluate("void (window.recognizer = transfer)")
        for word, clip in words.items():
            theirs = recognized(page, analyser_frames(page, clip)[1:])
            assert labels[int(np.argmax(theirs["scores"]))] == word


def shown_by_teachable_machine(ours: Recognizer, folder: Path, talk: Array, words: Collection[str]) -> list[Result]:
    """What the code that Teachable Machine shows makes of a model in folder/model and of a microphone.

    It listens until it has heard these words, which the microphone repeats.
    """
    (folder / "page.html").write_text(TEACHABLE_MACHINE)
    soundfile.write(folder / "talk.wav", talk, RATE)
    microphone = microphone_arguments(folder / "talk.wav")
    with served(folder, TEACHABLE_MACHINE_SCRIPTS) as address, chromium(*microphone) as browser:
        page = browser.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{address}page.html")
        assert page.evaluate("[tf.version.tfjs, speechCommands.version]") == ["1.3.1", "0.4.0"]
        page.evaluate(NOTE)
        page.evaluate("init()")
        page.wait_for_function(HEARD, arg=[ours.labels.index(word) for word in words], timeout=180_000)
        # Both at once, as it goes on listening.
        heard, shown = page.evaluate("[heard, document.getElementById('label-container').innerText]")
    assert errors == []
    assert heard, "no window reached the threshold"
    assert all(max(one["scores"]) >= 0.75 for one in heard)
    lines = [f"{label}: {score:.2f}" for label, score in zip(ours.labels, heard[-1]["scores"], strict=True)]
    assert shown.split("\n") == lines
    return compared(ours, heard)


@pytest.mark.slow
def test_teachable_machine_s_code_hears_words(words: dict[str, Array], tmp_path: Path) -> None:
    ours = exported(earmark.load("words"), tmp_path / "model", "teachable-machine")
    hiss = np.random.default_rng(1).normal(0, 3e-4, RATE // 2).astype(np.float32)
    talk = np.concatenate([part for clip in words.values() for part in (clip, hiss)])
    results = shown_by_teachable_machine(ours, tmp_path, talk, SPOKEN)
    assert {result.label for result in results} >= set(SPOKEN)


@pytest.mark.slow
def test_teachable_machine_s_code_hears_what_was_taught(tmp_path: Path) -> None:
    """A head has a layer normalization, which TensorFlow.js 1.3 can't do without an offset."""
    project = Project(tmp_path / "chirps", create=True, mode="words")
    for word in ("rise", "bounce"):
        for speaker in ("ann", "bob", "cid", "dee"):
            project.add(word, chirps.word(word, speaker), chirps.RATE)
    ours = exported(project.train("words"), tmp_path / "model", "teachable-machine")
    topology = json.loads((tmp_path / "model" / "model.json").read_text())["modelTopology"]
    assert "LayerNormalization" in json.dumps(topology)
    said = [chirps.word(word, "eve", rate=RATE) for word in ("rise", "bounce")]
    results = shown_by_teachable_machine(ours, tmp_path, np.concatenate(said), ("rise", "bounce"))
    assert {result.label for result in results} >= {"rise", "bounce"}
