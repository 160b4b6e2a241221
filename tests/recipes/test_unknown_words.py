"""The choice of the unknown words, and that they are packed the same each time."""

from __future__ import annotations

import io
import sys
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import pytest
import soundfile
import unknown_words
from synthesize import LABELS, VOICES, read_words

import earmark
from tests import chirps

SHIPPED = Path(earmark.__file__).parent / "models" / "unknown_words.ogg"
TOO_LONG = "elephant"


def tone(word: str, seconds: float = 0.3, rate: int = 24_000) -> chirps.Samples:
    """A tone that is another for each word, loudest in its middle."""
    hertz = 300 + 20 * (list(read_words("unknown_words.txt")).index(word) % 250)
    time = np.arange(round(seconds * rate)) / rate
    return (0.1 * np.hanning(len(time)) * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every word as a tone, by two engines; one word takes too long to fit in a second."""
    folder = tmp_path_factory.mktemp("data")
    for word in read_words("unknown_words.txt"):
        for engine in ("kokoro", "flite"):
            samples = tone(word, 1.2 if word == TOO_LONG else 0.3)
            chirps.save(folder / "synthesised" / "train" / word / f"{engine}-0.flac", samples, 24_000)
    return folder


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unknown_words, "COUNT", 40)
    monkeypatch.setattr(unknown_words, "ENGINES", {"kokoro": 0.5, "flite": 0.5})


# The choice


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_what_is_chosen(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unknown_words, "COUNT", 256)
    speech = data / "synthesised" / "train"
    chosen = dict(unknown_words.choose(speech))
    assert len(chosen) == 256
    assert list(chosen) == list(dict(unknown_words.choose(speech)))
    assert set(chosen) <= set(read_words("unknown_words.txt"))
    assert not set(chosen) & {*LABELS, *unknown_words.LIKELY.split(), *read_words("unseen_words.txt"), TOO_LONG}
    assert all(file.parent.name == word for word, file in chosen.items())
    assert {file.name for file in chosen.values()} == {"kokoro-0.flac", "flite-0.flac"}
    words = list(chosen)
    for number, word in enumerate(words):
        assert all(SequenceMatcher(None, word, other).ratio() <= 0.75 for other in words[:number])


def test_every_voice_is_one_of_training_and_all_shares_make_one() -> None:
    assert set(VOICES["train"]) < set(unknown_words.ENGINES)
    assert sum(unknown_words.ENGINES.values()) == pytest.approx(1)
    assert "piper" not in unknown_words.ENGINES


def test_too_few_words_are_told(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"Only 0 of 256 words .* run synthesize\.py first"):
        list(unknown_words.choose(tmp_path))


# The file


def test_a_word_lies_in_the_middle_of_its_second(tmp_path: Path) -> None:
    file = chirps.save(tmp_path / "apple.flac", tone("apple", 0.5), 24_000)
    peaks = []
    for seed in range(20):
        made = unknown_words.slot(file, np.random.default_rng(seed))
        assert made.shape == (16_000,)
        assert made.dtype == np.float32
        assert np.abs(made).argmax() == pytest.approx(8_000, abs=100)
        assert not made[:3_900].any()
        assert not made[-3_900:].any()
        peaks.append(20 * np.log10(np.abs(made).max()))
    assert -20.001 < min(peaks) < -15
    assert -8 < max(peaks) < -2.999


def test_a_file_is_the_same_each_time_and_sounds_as_what_went_in() -> None:
    sound = np.concatenate([chirps.word(name) for name in chirps.GLIDES])
    packed = unknown_words.pack(sound)
    assert packed == unknown_words.pack(sound)
    read, rate = soundfile.read(io.BytesIO(packed), dtype="float32")
    assert rate == 16_000
    assert len(read) == len(sound)
    assert np.corrcoef(read, sound)[0, 1] > 0.98


def test_checksums_are_those_of_libogg() -> None:
    """What libogg wrote, given its own serial number again, is what it was, to the last bit."""
    file = io.BytesIO()
    soundfile.write(file, chirps.word("rise"), 16_000, format="OGG", subtype="VORBIS")
    ogg = file.getvalue()
    serial = int.from_bytes(ogg[14:18], "little")
    assert unknown_words.with_serial(ogg, serial) == ogg
    other = unknown_words.with_serial(ogg, serial ^ 1)
    assert other != ogg
    np.testing.assert_array_equal(soundfile.read(io.BytesIO(other))[0], soundfile.read(io.BytesIO(ogg))[0])


def test_the_shipped_file_has_its_serial_number() -> None:
    shipped = SHIPPED.read_bytes()
    assert shipped[14:18] == b"\x01\0\0\0"
    assert unknown_words.with_serial(shipped, 1) == shipped


# All of it


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_the_program_writes_the_words_and_their_names(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unknown_words, "DESTINATION", tmp_path)
    monkeypatch.setattr(unknown_words, "TEXT", "{count} words: {kokoro} + {flite}\n\n{words}\n")
    monkeypatch.setattr(sys, "argv", ["unknown_words.py", str(data)])
    unknown_words.main()
    files = [tmp_path / "unknown_words.ogg", tmp_path / "unknown_words.md"]
    first = [file.read_bytes() for file in files]
    unknown_words.main()
    assert [file.read_bytes() for file in files] == first
    head, _, names = files[1].read_text("utf-8").partition("\n\n")
    assert head.startswith("40 words: ")
    kokoro, _, flite = head.removeprefix("40 words: ").partition(" + ")
    assert int(kokoro) + int(flite) == 40
    seconds = soundfile.read(files[0])[0].reshape(40, 16_000)
    for word, second in zip(names.replace("\n", " ").strip().split(", "), seconds, strict=True):
        loudest = np.abs(np.fft.rfft(second)).argmax()  # in Hz, since a slot lasts a second
        expected = np.abs(np.fft.rfft(tone(word), 24_000)).argmax()
        assert loudest == pytest.approx(expected, abs=2)
