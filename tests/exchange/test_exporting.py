"""Models in other programs' formats: ONNX with the front end inside, by onnxruntime alone; the files of the others."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
import soundfile
import soxr

import earmark
from earmark import EarmarkError, Recognizer
from earmark.exchange.exporting import export_model
from earmark.models.metadata import FixedNormalization, FlooredNormalization, Metadata, WindowNormalization
from tests import bands, tones
from tests.corpus import clip_rows, read_row

Array = npt.NDArray[np.float32]


NORMALIZATIONS = [
    *(WindowNormalization(), WindowNormalization(30), FlooredNormalization(0.5), FixedNormalization(-90, 7)),
]


def entries(file: Path) -> dict[str, str]:
    found: dict[str, str] = onnxruntime.InferenceSession(file).get_modelmeta().custom_metadata_map
    return found


def scores(file: Path, **given: Array) -> Array:
    (result,) = onnxruntime.InferenceSession(file).run(["scores"], given)
    return np.asarray(result)


def fitted(clip: Array, samples: int) -> Array:
    """The clip's first samples; silence follows one that is shorter."""
    return np.pad(clip[:samples], (0, max(0, samples - len(clip)))).clip(-1, 1).astype(np.float32)


def hard_clips(rate: int) -> list[Array]:
    """Silence, tones whose spectrum has deep valleys, a click, the faintest noise and the loudest."""
    time = np.arange(2 * rate) / rate
    random = np.random.default_rng(0)
    click = np.zeros(2 * rate)
    click[rate // 2] = 1
    waves = [
        *(np.zeros(2 * rate), click, 0.5 * np.sin(2 * np.pi * 440 * time), np.sin(2 * np.pi * 1_000.3 * time)),
        *(1e-5 * random.standard_normal(2 * rate), np.sign(random.standard_normal(2 * rate))),
    ]
    return [wave.astype(np.float32) for wave in waves]


def real_clips(data: Path, rate: int) -> list[Array]:
    clips = [read_row(data, "speech_commands", row) for row in clip_rows(data, "speech_commands")[::150]]
    clips += [read_row(data, "esc10", row) for row in clip_rows(data, "esc10")[::20]]
    return [soxr.resample(samples, own_rate, rate) for samples, own_rate in clips]


def check_waveform(recognizer: Recognizer, file: Path, clips: list[Array]) -> float:
    """The largest difference in scores between the exported graph alone and the library."""
    export_model(recognizer, file, "onnx")
    (given,) = onnxruntime.InferenceSession(file).get_inputs()
    assert (given.name, given.shape[0]) == ("waveform", "n")
    windows = np.stack([fitted(clip, given.shape[1]) for clip in clips])
    ours = np.stack([recognizer.recognize(one, recognizer.params.sample_rate).scores for one in windows])
    return float(np.abs(scores(file, waveform=windows) - ours).max())


@pytest.mark.slow
def test_words_from_the_waveform_alone(recordings: Path, tmp_path: Path) -> None:
    clips = real_clips(recordings, 44_100)
    difference = check_waveform(earmark.load("words"), tmp_path / "words.onnx", clips + hard_clips(44_100))
    print(f"{len(clips)} real clips: {difference:.1e}")
    assert len(clips) >= 100
    assert difference <= 1e-4


def test_sounds_from_the_waveform_alone(trained: earmark.Project, tmp_path: Path) -> None:
    """Levels go in as they are there, so that a quiet bin counts as much as a loud one."""
    assert check_waveform(trained.model(), tmp_path / "sounds.onnx", hard_clips(44_100)) <= 1e-4


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_every_normalization(normalization: Any, tmp_path: Path) -> None:
    recognizer = Recognizer(bands.band_model(normalization))
    loud = bands.burst(bands.LOW, 2, 1, 44_100)
    assert check_waveform(recognizer, tmp_path / "bands.onnx", [*hard_clips(44_100), loud]) <= 1e-4


def test_a_model_of_the_waveform_gets_it_flat(tmp_path: Path) -> None:
    recognizer = Recognizer(tones.tone_model())
    assert check_waveform(recognizer, tmp_path / "tones.onnx", hard_clips(16_000)) <= 1e-6


def test_the_file_says_how_it_is_used(tmp_path: Path) -> None:
    recognizer = earmark.load("words")
    export_model(recognizer, tmp_path / "a.onnx", "onnx", probability_threshold=0.9)
    found = entries(tmp_path / "a.onnx")
    assert json.loads(found["labels"]) == list(recognizer.labels)
    assert found["sample_rate"] == "44100"
    assert found["input"] == "waveform: float32 [n, 45056], in [-1, 1]"
    assert float(found["window_seconds"]) == pytest.approx(44 * 1_024 / 44_100, abs=1e-6)
    assert json.loads(found["normalization"]) == {"floor": 0.8}
    assert json.loads(found["front_end"]) == {
        "name": "spectrogram", "sample_rate": 44_100, "fft_size": 2_048, "hop": 1_024, "bins": 232,
    }  # fmt: skip
    assert found["probability_threshold"] == "0.9"
    assert "embedding" in [output.name for output in onnxruntime.InferenceSession(tmp_path / "a.onnx").get_outputs()]


def test_a_window_in_gives_the_same_scores(tmp_path: Path) -> None:
    recognizer = Recognizer(bands.band_model(WindowNormalization()))
    export_model(recognizer, tmp_path / "a.onnx", "onnx", onnx_input="window")
    levels = np.random.default_rng(0).uniform(-120, -20, (4, 43, 232)).astype(np.float32)
    flat = levels.reshape(4, -1).astype(np.float64)
    normalized = (flat - flat.mean(1, keepdims=True)) / flat.std(1, keepdims=True)
    theirs = scores(tmp_path / "a.onnx", window=normalized.reshape(levels.shape).astype(np.float32))
    np.testing.assert_allclose(theirs, [one.scores for one in recognizer.recognize_batch(levels)], atol=1e-5)
    assert entries(tmp_path / "a.onnx")["input"] == "window: float32 [n, 43, 232], normalized"


@pytest.mark.parametrize("onnx_input", ["waveform", "window"])
def test_earmark_loads_what_it_exported(onnx_input: str, tmp_path: Path) -> None:
    recognizer = earmark.load("words")
    export_model(recognizer, tmp_path / "a.onnx", "onnx", onnx_input=onnx_input, probability_threshold=0.6)
    back = earmark.load(tmp_path / "a.onnx")
    clip = bands.burst(bands.LOW, 3, 1)
    for windows in zip(recognizer.stream(clip, sample_rate=16_000), back.stream(clip, sample_rate=16_000), strict=True):
        np.testing.assert_array_equal(windows[0].scores, windows[1].scores)
    assert back.decisions().probability_threshold == 0.6
    assert back.input_shape == recognizer.input_shape
    assert back.has_embedding


def test_the_recommended_threshold_decides(tmp_path: Path) -> None:
    """What a model recommends is what listening takes, unless another is asked for."""
    clip = np.concatenate([bands.hiss(1, 1), bands.burst(bands.LOW, 1, 2), bands.hiss(1, 3)])
    sure, never = tmp_path / "sure.onnx", tmp_path / "never.onnx"
    export_model(Recognizer(bands.band_model()), sure, "onnx", probability_threshold=0.2)
    export_model(Recognizer(bands.band_model()), never, "onnx", probability_threshold=1.0)
    assert [one.label for one in earmark.load(sure).listen(clip, sample_rate=16_000)] == ["low"]
    assert [one.label for one in earmark.load(never).listen(clip, sample_rate=16_000)] == []
    assert list(earmark.load(never).listen(clip, sample_rate=16_000, probability_threshold=0.2))
    assert Recognizer(bands.band_model()).decisions().probability_threshold == 0.75


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_a_threshold_out_of_range(threshold: float, tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match="between 0 and 1"):
        export_model(earmark.load("words"), tmp_path / "a.onnx", "onnx", probability_threshold=threshold)
    assert not list(tmp_path.iterdir())


def test_metadata_with_a_threshold_that_is_none() -> None:
    text = json.loads(Metadata("a", ("b",), 3, WindowNormalization(), probability_threshold=0.5).to_json())
    for wrong in ("much", True, 2, -1, [0.5]):
        with pytest.raises(EarmarkError, match="no description"):
            Metadata.from_json(json.dumps({**text, "probability_threshold": wrong}), "it")
    assert Metadata.from_json(json.dumps(text), "it").probability_threshold == 0.5


def test_the_files_of_a_tfjs_model(tmp_path: Path) -> None:
    recognizer = earmark.load("words")
    assert export_model(recognizer, tmp_path / "new" / "words", "tfjs") == []
    names = sorted(path.name for path in (tmp_path / "new" / "words").iterdir())
    assert names == ["group1-shard1of1.bin", "metadata.json", "model.json"]
    assert list((tmp_path / "new").iterdir()) == [tmp_path / "new" / "words"]
    described = json.loads((tmp_path / "new" / "words" / "metadata.json").read_text())
    assert described["wordLabels"] == list(recognizer.labels)
    assert described["frameSize"] == 232


def test_a_teachable_machine_download(tmp_path: Path) -> None:
    """A zip of the three files, named as Teachable Machine names them."""
    export_model(earmark.load("words"), tmp_path / "model.zip", "teachable-machine")
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        assert sorted(archive.namelist()) == ["metadata.json", "model.json", "weights.bin"]
        described, model = (json.loads(archive.read(name)) for name in ("metadata.json", "model.json"))
    assert (described["modelName"], described["tfjsSpeechCommandsVersion"]) == ("TMv2", "0.4.0")
    assert described["timeStamp"].endswith("Z")
    assert model["weightsManifest"][0]["paths"] == ["weights.bin"]
    assert earmark.load(tmp_path / "model.zip").labels == earmark.load("words").labels


def test_what_no_browser_can_give(trained: earmark.Project, tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match="takes the waveform, which speech-commands can't give it: train on"):
        export_model(Recognizer(tones.tone_model()), tmp_path / "new" / "a", "tfjs")
    with pytest.raises(EarmarkError, match="needs a sound's level"):
        export_model(trained.model(), tmp_path / "a", "teachable-machine")
    assert not list(tmp_path.iterdir())
    (note,) = export_model(trained.model(), tmp_path / "a", "tfjs")
    assert "(levels in dB - -100) / 10" in note


@pytest.mark.parametrize(
    ("options", "told"),
    [({"to": "keras"}, "choose tfjs, teachable-machine, onnx"), ({"to": "onnx", "onnx_input": "sound"}, "choose wind")],
)
def test_a_format_that_does_not_exist(options: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match=told):
        export_model(earmark.load("words"), tmp_path / "a", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("to", ["tfjs", "onnx", "teachable-machine"])
def test_nothing_is_overwritten(to: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for name in ("folder", "file"):
        with pytest.raises(EarmarkError, match=f"{name} is there already: delete it"):
            export_model(earmark.load("words"), tmp_path / name, to)
    assert (tmp_path / "folder" / "mine").read_text() == (tmp_path / "file").read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 2


def test_an_operation_that_no_layer_does(tmp_path: Path) -> None:
    """The model of bands has a mean over frames alone."""
    with pytest.raises(EarmarkError, match=r"operation (ReduceMean|MatMul) that TensorFlow.js"):
        export_model(Recognizer(bands.band_model(WindowNormalization())), tmp_path / "a", "tfjs")
    assert not list(tmp_path.iterdir())


def test_without_the_package_onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recognizer = earmark.load("words")
    export_model(recognizer, tmp_path / "a.onnx", "onnx")
    packages = ("onnx.", "earmark.models.", "earmark.tfjs.")
    for name in [*(name for name in sys.modules if name.startswith(packages)), "onnx"]:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    actions: list[Callable[[], object]] = [
        lambda: export_model(recognizer, tmp_path / "b", "tfjs"),
        lambda: export_model(recognizer, tmp_path / "b", "onnx"),
        lambda: earmark.load(tmp_path / "a.onnx"),
    ]
    for action in actions:
        with pytest.raises(EarmarkError, match=r"needs the package onnx: install it with `pip install 'earmark\[conv"):
            action()


def test_the_exported_folder_recognizes_a_file(trained: earmark.Project, tmp_path: Path) -> None:
    """The whole way, with what Earmark keeps in metadata.json: sounds' fixed normalization among it."""
    recognizer = trained.model()
    export_model(recognizer, tmp_path / "a", "tfjs")
    back = earmark.load(tmp_path / "a")
    (clip, *_) = trained.clips("Left")
    np.testing.assert_allclose(back.recognize(clip.path).scores, recognizer.recognize(clip.path).scores, atol=1e-6)
    assert back.metadata.normalization == FixedNormalization(-100, 10)
    assert soundfile.info(clip.path).frames > 0
