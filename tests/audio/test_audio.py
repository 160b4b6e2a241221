"""Clips and sources: files of every kind that people have, and of no kind."""

import io
import struct
import tempfile
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import example, given
from hypothesis import strategies as st

from earmark import Clip, EarmarkError, Project, Recognizer, open_source, read_clip
from earmark.audio.clip import (
    AUDIO_SUFFIXES,
    Resampler,
    Samples,
    as_clip,
    clip_length,
    decode_pcm,
    encode_flac,
    encode_wav,
)
from earmark.audio.sound_file import CHUNK_SAMPLES
from earmark.audio.sources import FileSource, PcmSource
from tests import sounds
from tests.bands import band_model
from tests.budget import budget


def wav(data: bytes, rate: int = 44_100, channels: int = 1, width: int = 2) -> bytes:
    """A WAV file, written by Python's own module."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((channels, width, rate, 0, "NONE", ""))
        file.writeframes(data)
    return buffer.getvalue()


def header(rate: int = 44_100, channels: int = 1, kind: int = 1, bits: int = 16, data: bytes = bytes(2_000)) -> bytes:
    """A WAV file by hand, for headers that no module writes (Microsoft: WAVEFORMATEX)."""
    block = channels * bits // 8
    form = struct.pack("<IHHIIHH", 16, kind, channels, rate, rate * block % 2**32, block % 2**16, bits)
    body = b"WAVEfmt " + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def encoded(samples: npt.NDArray[np.float32], rate: int, container: str, subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=container, subtype=subtype)
    return buffer.getvalue()


def tone(hertz: float, rate: int, seconds: float = 1.0) -> Samples:
    time = np.arange(round(rate * seconds)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def loudest_hertz(samples: Samples, rate: int) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * rate / len(samples))


WHISTLE = sounds.whistle(0.5, 1)
FLAC = encoded(WHISTLE, sounds.RATE, "FLAC")
NOT_A_NUMBER = np.where(np.arange(2_000) == 700, np.float32(np.nan), np.float32(0.1))


@pytest.mark.parametrize(
    ("content", "samples"),
    [
        (wav(bytes([0, 128, 192]), width=1), [-1, 0, 0.5]),  # 8 bits are unsigned, 128 is zero
        (wav(struct.pack("<3h", -32_768, 0, 16_384)), [-1, 0, 0.5]),
        (wav(bytes.fromhex("000080 000000 000040"), width=3), [-1, 0, 0.5]),  # −2²³, 0, 2²²
        (wav(struct.pack("<3i", -(2**31), 0, 2**30), width=4), [-1, 0, 0.5]),
        (header(kind=3, bits=32, data=struct.pack("<3f", -1, 0, 0.5)), [-1, 0, 0.5]),
        (header(kind=3, bits=64, data=struct.pack("<3d", -1, 0, 0.5)), [-1, 0, 0.5]),
        (header(kind=3, bits=32, data=struct.pack("<3f", -1.5, 0, 40)), [-1, 0, 1]),  # floats may overshoot
        (wav(struct.pack("<4h", 8_192, 16_384, -16_384, 0), channels=2), [0.375, -0.25]),  # (¼ + ½) / 2, (−½ + 0) / 2
        (wav(struct.pack("<6h", 3_264, 0, 0, 0, 0, -32_640), channels=6), [-29_376 / 32_768 / 6]),
    ],
    ids=["8 bit", "16 bit", "24 bit", "32 bit", "float", "double", "beyond 1", "stereo", "6 channels"],
)
def test_every_kind_of_wav_gives_its_samples(content: bytes, samples: list[float]) -> None:
    clip = read_clip(content)
    assert clip.samples.dtype == np.float32
    np.testing.assert_allclose(clip.samples, samples, atol=1e-7)


@pytest.mark.parametrize("rate", [1_000, 8_000, 44_100, 192_000, 384_000])
def test_a_clip_keeps_its_rate(rate: int) -> None:
    clip = read_clip(wav(bytes(2 * rate // 4), rate))
    assert (clip.sample_rate, clip.seconds) == (rate, 0.25)


@pytest.mark.parametrize("container", ["OGG", "MP3", "FLAC", "AIFF", "CAF", "W64", "AU"])
def test_other_formats_than_wav_sound_the_same(tmp_path: Path, container: str) -> None:
    if container not in soundfile.available_formats():
        pytest.skip(f"this libsndfile writes no {container}")
    file = tmp_path / f"tone.{container.lower()}"
    file.write_bytes(encoded(tone(1_000, 48_000), 48_000, container))
    clip = read_clip(file)
    np.testing.assert_array_equal(read_clip(file.read_bytes()).samples, clip.samples)
    assert clip.sample_rate == 48_000
    assert clip.seconds == pytest.approx(1, abs=0.05)  # MP3 pads to whole frames of 24 ms
    assert loudest_hertz(clip.samples, 48_000) == pytest.approx(1_000, abs=2)
    assert clip_length(file) == (len(clip.samples), 48_000)
    assert file.suffix in AUDIO_SUFFIXES


BAD_FILES = {
    "text.wav": b"This is a letter, not a sound.",
    "empty.wav": b"",
    "no samples.wav": wav(b""),
    "no samples.flac": encoded(WHISTLE[:0], 48_000, "FLAC"),
    "nan.wav": encoded(NOT_A_NUMBER, 44_100, "WAV", "FLOAT"),
    "infinite.wav": encoded(NOT_A_NUMBER * np.float32(np.inf), 44_100, "WAV", "FLOAT"),
    "cut off.flac": FLAC[: len(FLAC) * 7 // 10],
    "cut in the header.flac": FLAC[:30],
    "slow.wav": header(rate=999),
    "fast.wav": header(rate=655_360),
    "odd.wav": header(rate=96_001),
    "very fast.wav": header(rate=2**32 - 1),
    "no rate.wav": header(rate=0),
    "no channels.wav": header(channels=0),
    "too many channels.wav": header(channels=65_535),
    "too long.wav": wav(bytes(2 * (600 * 1_000 + 1)), 1_000),
}


def assert_tells(error: BaseException, name: str) -> None:
    """One sentence that names the thing and, behind a colon, the remedy."""
    sentence = str(error)
    assert name.replace("\0", "?") in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert ": " in sentence.replace(name, "")


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_named_with_a_remedy(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(BAD_FILES[name])
    with pytest.raises(EarmarkError) as caught:
        read_clip(file)
    assert_tells(caught.value, str(file))
    with pytest.raises(EarmarkError) as caught:
        read_clip(BAD_FILES[name], "from the page.wav")
    assert_tells(caught.value, "from the page.wav")


@pytest.mark.parametrize("name", sorted(BAD_FILES.keys() - {"too long.wav"}))
def test_a_bad_file_as_a_source_is_named_with_a_remedy(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(BAD_FILES[name])
    with pytest.raises(EarmarkError) as caught, open_source(file) as source:
        list(source)
    assert_tells(caught.value, str(file))


@pytest.mark.parametrize("name", ["missing.wav", "folder", "x" * 300, "nul\0.wav"], ids=lambda name: ascii(name[:12]))
def test_what_is_no_file_is_named_with_a_remedy(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    for read in (read_clip, open_source, clip_length):
        with pytest.raises(EarmarkError) as caught:
            read(tmp_path / name)
        assert_tells(caught.value, name)


@pytest.mark.parametrize(
    ("samples", "rate", "says"),
    [
        ([], 44_100, "empty"),
        (np.zeros((0, 2)), 44_100, "empty"),
        (np.zeros((9, 0)), 44_100, "empty|channel"),
        (np.zeros(()), 44_100, "dimensions"),
        (np.zeros((9, 2, 2)), 44_100, "dimensions"),
        ([0.1, np.nan], 44_100, "finite"),
        ([0.1, -np.inf], 44_100, "finite"),
        ([0.1, 1e300], 44_100, r"finite|beyond"),
        ([0.1, 20_000.0], 44_100, "divide"),
        ([1j], 44_100, "type"),
        (["loud"], 44_100, "type"),
        (None, 44_100, "dimensions|type"),
        (np.array([128], np.uint8), 44_100, "type"),
        (np.zeros(600 * 1_000 + 1), 1_000, "600 s"),
        ([0.1], None, "sample_rate="),
        ([0.1], 0, "sample rate"),
        ([0.1], -44_100, "sample rate"),
        ([0.1], 10**30, "sample rate"),
        ([0.1], float("nan"), "sample rate"),
        ([0.1], float("inf"), "sample rate"),
    ],
)
def test_bad_samples_are_told(samples: npt.ArrayLike, rate: int | None, says: str) -> None:
    with pytest.raises(EarmarkError, match=says) as caught:
        as_clip(samples, rate)
    assert_tells(caught.value, "he clip")


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.array([-128, 64], np.int8), [-1, 0.5]),
        (np.array([-32_768, 16_384], np.int16), [-1, 0.5]),
        (np.array([-(2**31), 2**30], np.int32), [-1, 0.5]),
        (np.array([-1, 0.5], np.float16), [-1, 0.5]),
        ([[0.5, -0.5], [0.25, 0.75]], [0, 0.5]),
        ([-1.5, 1.5], [-1, 1]),
    ],
)
def test_arrays_of_every_kind_become_clips(samples: npt.ArrayLike, expected: list[float]) -> None:
    clip = as_clip(samples, 8_000)
    assert clip.samples.dtype == np.float32
    np.testing.assert_array_equal(clip.samples, expected)


def test_flac_keeps_every_16_bit_and_24_bit_sample() -> None:
    sixteen = (np.arange(-(2**15), 2**15) / 2**15).astype(np.float32)
    twenty_four = (np.random.default_rng(0).integers(-(2**23), 2**23, 50_000) / 2**23).astype(np.float32)
    for samples, subtype in ((sixteen, "PCM_16"), (twenty_four, "PCM_24")):
        data = encode_flac(Clip(samples, 44_100))
        assert soundfile.info(io.BytesIO(data)).subtype == subtype
        np.testing.assert_array_equal(read_clip(data).samples, samples)


@pytest.mark.parametrize("rate", [1_000, 8_000, 44_101, 65_535, 192_000, 655_350])
def test_a_clip_of_any_rate_that_can_be_read_can_be_kept(rate: int) -> None:
    samples = tone(100, rate, 0.1)
    kept = read_clip(encode_flac(Clip(samples, rate)))
    assert kept.sample_rate == rate
    np.testing.assert_allclose(kept.samples, samples, atol=2**-23)


def test_a_wav_for_the_browser_is_read_by_python_itself() -> None:
    with wave.open(io.BytesIO(encode_wav(Clip(np.array([-1, 0, 0.5], np.float32), 16_000)))) as file:
        assert file.getparams()[:4] == (1, 2, 16_000, 3)
        assert struct.unpack("<3h", file.readframes(3)) == (-32_768, 0, 16_384)


@budget(150)
@given(st.binary(max_size=300), st.sampled_from([b"", b"fLaC", b"OggS", b"RIFF\xff\xff\xff\xffWAVEfmt ", b"ID3"]))
@example(header()[:44], b"")
def test_any_bytes_give_one_sentence_or_a_valid_clip(data: bytes, magic: bytes) -> None:
    assert_valid_or_told(magic + data)


WHOLE = {
    "flac": FLAC,
    "wav": header(data=(WHISTLE[:3_000] * 32_767).astype("<i2").tobytes()),
    "float": encoded(WHISTLE[:3_000], 44_100, "WAV", "FLOAT"),
    "ogg": encoded(WHISTLE[:9_000], 44_100, "OGG"),
    "aiff": encoded(WHISTLE[:3_000], 44_100, "AIFF"),
}


@budget(150)
@given(
    st.sampled_from(sorted(WHOLE)),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255), st.booleans()), min_size=1, max_size=5),
    st.floats(0, 1),
)
@example("aiff", [(0.69, 200, True)], 1.0)  # its header makes libsndfile seek to before the file's beginning
def test_damaged_files_give_one_sentence_or_a_valid_clip(
    kind: str, changes: list[tuple[float, int, bool]], kept: float
) -> None:
    data = bytearray(WHOLE[kind])
    for at, value, in_header in changes:
        data[int(at * min(len(data), 60 if in_header else len(data)))] = value
    assert_valid_or_told(bytes(data[: round(len(data) * max(kept, 0.3))]))


def assert_valid_or_told(data: bytes) -> None:
    try:
        clip = read_clip(data, "some file")
    except EarmarkError as error:
        assert_tells(error, "ome file")
        return
    assert clip.samples.ndim == 1
    assert len(clip.samples) > 0
    assert clip.samples.dtype == np.float32
    assert np.isfinite(clip.samples).all()
    assert np.abs(clip.samples).max() <= 1
    assert 1_000 <= clip.sample_rate <= 655_350


def test_a_file_source_gives_all_samples_in_order(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(-32_768, 32_767, 2 * 20_500, np.int16)
    (tmp_path / "a.wav").write_bytes(wav(values.astype("<i2").tobytes(), 8_000, channels=2))
    with open_source(tmp_path / "a.wav") as source:
        assert (source.sample_rate, source.seconds, source.name) == (8_000, 20_500 / 8_000, str(tmp_path / "a.wav"))
        chunks = list(source)
        again = list(source)
    assert len(chunks) > 1, "a long file never lies in memory whole"
    np.testing.assert_array_equal(np.concatenate(chunks), (values[::2] + values[1::2].astype(float)) / 2 / 32_768)
    np.testing.assert_array_equal(np.concatenate(again), np.concatenate(chunks))


@pytest.mark.parametrize("channels", [*range(1, 11), 16])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_channels_are_averaged_as_numpy_does_it(subtype: str, channels: int) -> None:
    samples = np.random.default_rng(channels).uniform(-1, 1, (3_000, channels)).astype(np.float32)
    data = encoded(samples, 44_100, "WAV", subtype)
    expected = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0].mean(axis=1)
    np.testing.assert_array_equal(read_clip(data).samples, expected)


@pytest.mark.parametrize(
    "container", [name for name in sorted(soundfile.available_formats()) if soundfile.check_format(name, "PCM_16")]
)
@pytest.mark.parametrize("channels", [1, 2])
def test_16_bits_are_what_libsndfile_makes_of_them(container: str, channels: int) -> None:
    values = np.random.default_rng(0).uniform(-1, 1, (2_000, channels))
    buffer = io.BytesIO()
    try:
        soundfile.write(buffer, values, 44_100, format=container, subtype="PCM_16")
        expected, _ = soundfile.read(io.BytesIO(buffer.getvalue()), dtype="float32", always_2d=True)
    except (ValueError, TypeError, soundfile.LibsndfileError):
        pytest.skip(f"libsndfile keeps no {channels} channels of 16 bits in {container}, or not with their rate")
    np.testing.assert_array_equal(read_clip(buffer.getvalue()).samples, expected.mean(axis=1))


@pytest.mark.parametrize(
    ("rate", "channels", "seconds", "frames"),
    [
        (8_000, 1, 16, 128_000),
        (8_000, 1, 0.1, 800),
        (8_000, 2, 16, 64_000),  # as many numbers
        (192_000, 1, 16, CHUNK_SAMPLES),
        (192_000, 8, 16, CHUNK_SAMPLES // 8),
    ],
)
def test_chunks_are_as_long_as_asked_for_unless_they_would_fill_the_memory(
    rate: int, channels: int, seconds: float, frames: int
) -> None:
    length = 2 * frames + 7
    with FileSource(io.BytesIO(wav(bytes(2 * length * channels), rate, channels)), seconds, name="long.wav") as source:
        assert (source.name, source.seconds) == ("long.wav", length / rate)
        assert [len(chunk) for chunk in source] == [frames, frames, 7]


class Dribble(io.RawIOBase):
    """A pipe that hands its bytes out in pieces of the given sizes."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._data, self._sizes = data, sizes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        size = self._sizes.pop(0) if self._sizes else len(buffer)
        piece, self._data = self._data[:size], self._data[size:]
        buffer[: len(piece)] = piece
        return len(piece)


@budget(80)
@given(st.lists(st.integers(1, 9), max_size=60), st.sampled_from(["s16le", "f32le"]), st.integers(1, 3))
def test_raw_pcm_is_the_same_however_the_pipe_cuts_it(sizes: list[int], encoding: str, channels: int) -> None:
    values = np.random.default_rng(1).integers(-128, 128, (40, channels)) / 128
    data = (values * 32_768).clip(-32_768, 32_767).astype("<i2") if encoding == "s16le" else values.astype("<f4")
    dribble: io.RawIOBase = Dribble(data.tobytes() + b"\1", sizes)  # and a torn sample at the end
    source = PcmSource(io.BufferedReader(dribble), 16_000, encoding, channels)  # type: ignore[arg-type]
    np.testing.assert_allclose(np.concatenate(list(source)), values.mean(axis=1), atol=1e-6)


def test_pcm_is_little_endian_at_full_scale() -> None:
    np.testing.assert_array_equal(decode_pcm(bytes.fromhex("0080 0000 0040"), "s16le"), [-1, 0, 0.5])
    np.testing.assert_array_equal(decode_pcm(bytes.fromhex("000080bf 0000003f"), "f32le"), [-1, 0.5])  # IEEE 754


@pytest.mark.parametrize(
    ("rate", "encoding", "channels", "says"),
    [
        (44_100, "mp3", 1, "s16le or f32le"),
        (44_100, "s16le", 0, "1 or more"),
        (44_100, "s16le", -2, "1 or more"),
        (0, "s16le", 1, "sample rate"),
        (10**12, "s16le", 1, "sample rate"),
    ],
)
def test_unfit_pcm_options_are_told(rate: int, encoding: str, channels: int, says: str) -> None:
    with pytest.raises(EarmarkError, match=says):
        PcmSource(io.BytesIO(), rate, encoding, channels)  # type: ignore[arg-type]


def test_pcm_that_is_not_finite_is_told() -> None:
    source = PcmSource(io.BytesIO(struct.pack("<2f", 0.5, float("nan"))), 44_100, "f32le")
    with pytest.raises(EarmarkError, match="not finite"):
        list(source)


def test_samples_and_open_sources_are_sources() -> None:
    source = open_source([0.5, -0.5], sample_rate=16_000)
    assert (source.sample_rate, source.seconds) == (16_000, 2 / 16_000)
    np.testing.assert_array_equal(np.concatenate(list(source)), [0.5, -0.5])
    assert open_source(source) is source
    with pytest.raises(EarmarkError, match="sample_rate="):
        open_source([0.5])


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000, 192_000])
def test_resampling_keeps_a_tone_and_its_length(rate: int) -> None:
    resampler = Resampler(rate, 44_100)
    samples = np.concatenate([resampler.process(tone(440, rate)), resampler.finish()])
    assert abs(len(samples) - 44_100) <= 1
    middle = slice(4_410, -4_410)
    np.testing.assert_allclose(samples[middle], tone(440, 44_100)[: len(samples)][middle], atol=1e-3)


@budget(30)
@given(st.lists(st.integers(0, 3_000), max_size=10), st.sampled_from([8_000, 16_000, 44_100, 48_000]))
def test_resampling_is_the_same_however_the_stream_is_cut(cuts: list[int], rate: int) -> None:
    samples = sounds.snaps(0.2, 4)
    at_once, in_pieces = Resampler(rate, 44_100), Resampler(rate, 44_100)
    pieces = [
        in_pieces.process(piece) for piece in np.split(samples, np.minimum(np.cumsum(cuts, dtype=int), len(samples)))
    ]
    np.testing.assert_array_equal(
        np.concatenate([*pieces, in_pieces.finish()]),
        np.concatenate([at_once.process(samples), at_once.finish()]),
    )


def test_real_recordings_have_the_lengths_of_their_index(recordings: Path) -> None:
    rows = [line.split("\t") for line in (recordings / "free_spoken_digits" / "index.tsv").read_text().splitlines()]
    spans = [(int(start), int(length)) for split, word, start, length, *_ in rows if (split, word) == ("test", "six")]
    clip = read_clip(recordings / "free_spoken_digits" / "test-six.ogg")
    assert clip.sample_rate == 8_000
    assert len(clip.samples) == sum(length for _, length in spans)
    loudness = [np.abs(clip.samples[start : start + length]).max() for start, length in spans]
    assert min(loudness) > 0.005, "each clip holds a spoken word"


def test_a_clip_in_a_folder_of_any_name_is_read() -> None:
    with tempfile.TemporaryDirectory(prefix="été 🙂 ") as folder:
        file = Path(folder) / "a\nb %s {x} [red].wav"
        file.write_bytes(header())
        assert len(read_clip(file).samples) == 1_000
        file.write_bytes(b"no sound")
        with pytest.raises(EarmarkError, match=r"\[red\]\.wav is not a sound file"):
            read_clip(file)


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("door", ["recognize", "listen", "stream", "add", "open_source", "collect", "as_clip"])
def test_arrays_with_channels_first_are_refused_at_every_door(channels: int, door: str, tmp_path: Path) -> None:
    first = np.repeat(WHISTLE[np.newaxis], channels, axis=0)  # torchaudio.load, librosa.load(mono=False)
    recognizer = Recognizer(band_model()) if door in ("recognize", "listen", "stream") else None
    project = Project(tmp_path / "project", create=True, mode="words")
    doors: dict[str, Callable[[Any], object]] = {
        "recognize": lambda array: recognizer and recognizer.recognize(array, sounds.RATE),
        "listen": lambda array: recognizer and list(recognizer.listen(array, sample_rate=sounds.RATE)),
        "stream": lambda array: recognizer and list(recognizer.stream(array, sample_rate=sounds.RATE)),
        "add": lambda array: project.add("Whistle", array, sounds.RATE),
        "open_source": lambda array: open_source(array, sample_rate=sounds.RATE),
        "collect": lambda array: project.collect_example("Whistle", array, sample_rate=sounds.RATE),
        "as_clip": lambda array: as_clip(array, sounds.RATE),
    }
    sixteen = (first.T * 2**15).astype(np.int16)
    for wrong, told in (
        (first, r"channels first, \d × 24000: pass \[samples, channels\]: transpose it"),
        (first.astype(np.float64).tolist(), "transpose it"),
        (sixteen.astype(np.int32), "16-bit values as int32: pass them as int16"),
        (sixteen.astype(np.int64), "16-bit values as int64: pass them as int16"),
        (sixteen.astype(np.int64) << 16, "32-bit values as int64: divide them by full scale"),
    ):
        with pytest.raises(EarmarkError, match=told):
            doors[door](wrong)
    assert not project.clips()
    doors[door](first.T)
    doors[door](sixteen)


def test_integers_that_fill_their_type_or_are_silent_are_taken() -> None:
    full = (WHISTLE.astype(np.float64) * 2**31).astype(np.int32)
    np.testing.assert_allclose(as_clip(full, sounds.RATE).samples, WHISTLE, atol=1e-6)
    np.testing.assert_allclose(as_clip(full >> 12, sounds.RATE).samples, WHISTLE / 2**12, atol=1e-6)  # −72 dB
    assert not as_clip(np.zeros(500, np.int64), sounds.RATE).samples.any()
    assert len(as_clip(np.zeros((3, 6)), sounds.RATE).samples) == 3  # few samples of few channels
