"""What networks from elsewhere hear: declared in TOML, or recognized by their inputs and outputs."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from earmark import EarmarkError
from earmark.models.declaration import (
    BEFORE_LAST,
    BIRDNET,
    PERCH,
    YAMNET,
    YAMNET_MEL,
    Declaration,
    fixed_shape,
    read_declaration,
    recognize,
)
from earmark.models.log_mel import LogMel
from earmark.models.onnx_file import Declared
from tests import yamnet

WHOLE = """
sample_rate = 22050
window = 1.5
hop = 0.25
output = "features"
pooling = "max"
scale = 32768
hears = "words"

[log_mel]
frame = 0.04
hop = 0.02
fft_size = 1024
bands = 40
lowest = 60
highest = 8000
mel = "slaney"
power = 1
log = "db"
offset = 0.0001
mean = -30
deviation = 20
"""
LEAST = "sample_rate = 16000\nwindow = 2\n"


def test_all_that_can_be_declared() -> None:
    mel = LogMel(882, 441, 1024, 40, 60.0, 8000.0, "slaney", 1, "db", 0.0001, -30.0, 20.0)
    expected = Declaration(22_050, 33_075, 5_512, "features", "max", 32768.0, "words", mel)
    assert read_declaration(WHOLE, "net.toml") == expected
    assert (expected.front_end.values, expected.window_frames, expected.hop_frames) == (441, 75, 12)
    assert Declaration.from_dict(json.loads(json.dumps(expected.as_dict()))) == expected


def test_what_is_left_out_is_as_the_page_says() -> None:
    read = read_declaration(LEAST, "net.toml")
    assert read == Declaration(16_000, 32_000, 3_200, None, "mean-max", 1.0, "sounds", None)
    mel = read_declaration(LEAST + "[log_mel]\nframe = 0.025\nhop = 0.01\nbands = 64\n", "net.toml").log_mel
    assert mel == LogMel(400, 160, 512, 64, 0.0, 8000.0, "htk", 2, "ln", 1e-6, 0.0, 1.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("window = 1", "sample_rate is missing"),
        ("sample_rate = 16000", "window is missing"),
        ("sample_rate = 16000\nwindow = 'long'", "window is no number"),
        ("sample_rate = 16000\nwindow = true", "window is no number"),
        ("sample_rate = 16000\nwindow = nan", "window is no number"),
        ("sample_rate = 16000\nwindow = inf", "window is no number"),
        ("sample_rate = 16000\nwindow = 3600", "window is 3600 s: from 0.05 to 30"),
        ("sample_rate = 100\nwindow = 1", "sample_rate is 100: from 4,000 to 192,000"),
        ("sample_rate = 16000.5\nwindow = 1", "sample_rate is no whole number"),
        (LEAST + "hop = 3", "hop is more than 0 and at most window"),
        (LEAST + "hop = -1", "hop is more than 0"),
        (LEAST + "pooling = 'median'", "pooling is 'median'"),
        (LEAST + "hears = 'birds'", "hears is 'birds'"),
        (LEAST + "scale = 0", "scale is 0"),
        (LEAST + "output = 7", "output is no text"),
        (LEAST + "sample_rat = 1", "sample_rat is not known"),
        (LEAST + "log_mel = 1", "log_mel is no table"),
        (LEAST + "[log_mel]\nhop = 0.01\nbands = 64", "log_mel.frame is missing"),
        (LEAST + "[log_mel]\nframe = 0.02\nhop = 0\nbands = 64", "hop is at least a sample"),
        (LEAST + "[log_mel]\nframe = 0.02\nhop = 0.01\nbands = 9999", "at most 10,000 frames of 1,024 bands"),
        (LEAST + "[log_mel]\nframe = 0.02\nhop = 0.01\nbands = 64\nhighest = 9000", "at most half of sample_rate"),
        (LEAST + "[log_mel]\nframe = 0.02\nhop = 0.01\nbands = 64\nmel = 'bark'", "log_mel.mel is 'bark'"),
        (LEAST + "[log_mel]\nframe = 0.02\nhop = 0.01\nbands = 64\npower = 3", "log_mel.power is 3"),
        (LEAST + "[log_mel]\nframe = 0.02\nhop = 0.01\nbands = 64\nnorm = 1", "log_mel.norm is not known"),
        ("sample_rate = ", "Invalid value"),
        ("[" * 5000, "net.toml doesn't declare a base"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(text: str, said: str) -> None:
    with pytest.raises(EarmarkError, match=said) as told:
        read_declaration(text, "net.toml")
    assert str(told.value).startswith("net.toml doesn't declare a base (")
    assert str(told.value).endswith("mend it as docs/bases.md describes.")


def floats(*shape: int | None) -> Declared:
    return Declared(1, shape)


# Networks as their makers export them.
SCORES, EMBEDDINGS, LEVELS = floats(None, 521), floats(None, 1024), floats(None, 64)
YAMNET_OUTPUTS = {"scores": SCORES, "embeddings": EMBEDDINGS, "log_mel": LEVELS}


@pytest.mark.parametrize(
    ("given", "outputs", "name", "expected"),
    [
        (floats(None), YAMNET_OUTPUTS, "YAMNet, waveform in", replace(YAMNET, output="embeddings")),
        (floats(15_600), YAMNET_OUTPUTS, "YAMNet, waveform in", replace(YAMNET, output="embeddings")),
        *(
            (shape, {"s": SCORES, "e": EMBEDDINGS}, "YAMNet, patches in",
             replace(YAMNET, output="e", log_mel=YAMNET_MEL))
            for shape in (floats(None, 96, 64), floats(1, 1, 96, 64), floats(None, 96, 64, 1))
        ),
        (floats(None, 160_000), {"label": floats(None, 10_932), "embedding": floats(None, 1280)}, "Perch",
         replace(PERCH, output="embedding")),
        (floats(None, 160_000),
         {"spatial": floats(None, 16, 4, 1536), "embedding": floats(None, 1536), "label": floats(None, 14_795)},
         "Perch", replace(PERCH, output="embedding")),
        (floats(1, 144_000), {"logits": floats(1, 6522)}, "BirdNET", replace(BIRDNET, output=BEFORE_LAST)),
        (floats(None, 144_000), {"logits": floats(None, 6522), "e": EMBEDDINGS}, "BirdNET",
         replace(BIRDNET, output="e")),
    ],
)  # fmt: skip
def test_known_networks_are_recognized(
    given: Declared, outputs: dict[str, Declared], name: str, expected: Declaration
) -> None:
    assert recognize({"given": given}, outputs) == (name, expected)
    expected.check()


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"x": floats(None)}, {"scores": SCORES}),
        ({"x": floats(None, 64, 64)}, {"e": EMBEDDINGS}),
        ({"x": floats(None, 32_000)}, {"e": EMBEDDINGS}),
        ({"x": Declared(2, (None,))}, YAMNET_OUTPUTS),
        ({"x": Declared(1, None)}, YAMNET_OUTPUTS),
        ({"x": floats(None), "rate": floats()}, YAMNET_OUTPUTS),
        ({}, YAMNET_OUTPUTS),
    ],
)
def test_others_must_be_declared(inputs: dict[str, Declared], outputs: dict[str, Declared]) -> None:
    assert recognize(inputs, outputs) is None


def test_yamnets_spectrogram_is_computed() -> None:
    sound = np.random.default_rng(3).normal(0, 0.1, 15_600).astype(np.float32)
    (levels,) = YAMNET_MEL.compute(sound[np.newaxis], 16_000)
    assert levels.shape == (96, 64)
    np.testing.assert_allclose(levels, yamnet.log_mel(sound), atol=2e-4)


def test_slaneys_bands_have_equal_areas() -> None:
    """Triangles of equal area, in order, as `librosa.filters.mel` makes them."""
    mel = LogMel(512, 256, 512, 8, 0.0, 11_025.0, "slaney", 2, "ln", 1e-6)
    *_, bands = mel.matrices(22_050)
    width = 22_050 / 512  # Hz from bin to bin
    np.testing.assert_allclose(bands.sum(axis=0) * width, 1, atol=0.03)
    peaks = (bands.argmax(axis=0) + 1) * width
    assert np.all(np.diff(peaks) > 0)


def test_what_the_file_leaves_open_is_fixed() -> None:
    wave, mel = YAMNET, replace(YAMNET, log_mel=YAMNET_MEL)
    waves: list[tuple[tuple[int | None, ...], tuple[int, ...]]] = [
        ((None,), (15_600,)), ((None, None), (1, 15_600)), ((1, 15_600, 1), (1, 15_600, 1)),
        ((None, 1, None), (1, 1, 15_600)), ((None, None, 1), (1, 15_600, 1)),
    ]  # fmt: skip
    mels: list[tuple[tuple[int | None, ...], tuple[int, ...]]] = [
        ((None, 96, 64), (1, 96, 64)), ((None, 64, 96), (1, 64, 96)), ((1, None, 64, 1), (1, 96, 64, 1)),
        ((None, None, None, 64), (1, 1, 96, 64)), ((96, 64), (96, 64)),
    ]  # fmt: skip
    for shape, expected in waves:
        assert fixed_shape(floats(*shape), "net", wave) == expected
    for shape, expected in mels:
        assert fixed_shape(floats(*shape), "net", mel) == expected
    for wrong in ((None, 16_000), (2, 15_600), (15_600, 2)):
        with pytest.raises(EarmarkError, match=r"^net takes .+, not 15600 samples: declare the window"):
            fixed_shape(floats(*wrong), "net", wave)
