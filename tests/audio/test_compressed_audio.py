"""WebM and MP4 recordings, against other decoders: libsndfile's, and Chromium's own."""

from __future__ import annotations

import base64
import io
import shutil
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given
from hypothesis import strategies as st

from earmark import EarmarkError
from earmark.audio.clip import Clip, encode_flac
from earmark.audio.compressed_audio import CompressedSource, decode
from tests import sounds
from tests.browser import chromium
from tests.conftest import SHARED

av = pytest.importorskip("av", reason="needs the package av: pip install 'earmark[webm]'")

FIXTURE = SHARED / "fixtures" / "tfjs_speech_commands" / "teachable_machine_class.zip"
CHROMIUM_DECODES = """
async (text) => {
  const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const buffer = await new OfflineAudioContext(1, 1, 48000).decodeAudioData(bytes.buffer);
  const samples = buffer.getChannelData(0);
  const out = new Uint8Array(samples.buffer, samples.byteOffset, 4 * samples.length);
  let letters = '';
  for (let at = 0; at < out.length; at += 32768) letters += String.fromCharCode(...out.subarray(at, at + 32768));
  return btoa(letters);
}
"""


def whistle(rate: int, seconds: float = 1.0) -> np.ndarray:
    return np.asarray(soxr.resample(sounds.whistle(seconds, 1), sounds.RATE, rate), np.float32)


def encoded(samples: np.ndarray, rate: int, codec: str, container: str, layout: str = "mono") -> bytes:
    """Samples [samples] or [channels, samples], as PyAV encodes them."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", container) as file:
        stream = file.add_stream(codec, rate=rate, layout=layout)
        interleaved = np.atleast_2d(samples).T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(interleaved), format="flt", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return buffer.getvalue()


def in_webm(ogg: bytes) -> bytes:
    """The same packets in another container."""
    buffer = io.BytesIO()
    with av.open(io.BytesIO(ogg)) as source, av.open(buffer, "w", "webm") as file:
        stream = file.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                file.mux(packet)
    return buffer.getvalue()


def test_opus_in_webm_sounds_as_libsndfile_hears_it_in_ogg() -> None:
    buffer = io.BytesIO()
    soundfile.write(buffer, whistle(48_000), 48_000, format="OGG", subtype="OPUS")
    expected, rate = soundfile.read(io.BytesIO(buffer.getvalue()), dtype="float32")
    clip = decode(in_webm(buffer.getvalue()), "mine.webm")
    assert (clip.sample_rate, len(clip.samples)) == (rate, len(expected)) == (48_000, 48_000)
    assert clip.samples.dtype == np.float32
    np.testing.assert_allclose(clip.samples, expected, atol=1e-5)


def test_a_browsers_recording_sounds_as_the_browser_hears_it() -> None:
    if not FIXTURE.is_file():
        pytest.skip("needs ../shared/fixtures/tfjs_speech_commands/teachable_machine_class.zip")
    with zipfile.ZipFile(FIXTURE) as archive:
        recording = archive.read("sample-1.webm")
    with chromium() as browser:
        answer = browser.new_page().evaluate(CHROMIUM_DECODES, base64.b64encode(recording).decode())
    expected = np.frombuffer(base64.b64decode(answer), "<f4")
    clip = decode(recording, "sample-1.webm")
    assert clip.sample_rate == 48_000
    assert len(clip.samples) == len(expected) == 518_400  # 180 packets of 60 ms
    np.testing.assert_allclose(clip.samples, expected.clip(-1, 1), atol=1e-5)


@pytest.mark.parametrize(("container", "delay"), [("mp4", 0), ("3gp", 0), ("mov", 0), ("adts", 1_024)])
def test_what_phones_record_is_decoded_at_its_own_rate(container: str, delay: int) -> None:
    """AAC loses much of a sound, but its shape stays. A bare stream doesn't tell the encoder's delay."""
    samples = whistle(44_100)
    clip = decode(encoded(samples, 44_100, "aac", container), "mine.m4a")
    assert clip.sample_rate == 44_100
    assert 0 <= len(clip.samples) - delay - len(samples) < 1_024
    assert np.corrcoef(clip.samples[delay:][: len(samples)], samples)[0, 1] > 0.99


def test_channels_are_averaged() -> None:
    left = whistle(16_000)
    stereo = encoded(np.stack([left, np.zeros_like(left)]), 16_000, "flac", "matroska", "stereo")
    clip = decode(stereo, "mine.mkv")
    assert clip.sample_rate == 16_000
    np.testing.assert_allclose(clip.samples, left / 2, atol=2**-15)


def test_other_sound_files_are_read_as_ever() -> None:
    clip = Clip((np.round(whistle(16_000) * 2**14) / 2**15).astype(np.float32), 16_000)
    again = decode(encode_flac(clip), "sample-1.webm")
    np.testing.assert_array_equal(again.samples, clip.samples)
    with pytest.raises(EarmarkError, match=r"mine\.webm is not a sound file"):
        decode(b"garbage", "mine.webm")


def video_alone() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", "matroska") as file:
        stream = file.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        file.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((24, 16), np.uint8), format="yuv420p")))
        file.mux(stream.encode(None))
    return buffer.getvalue()


def quiet(seconds: int, rate: int, layout: str = "mono", channels: int = 1) -> bytes:
    return encoded(np.zeros((channels, seconds * rate), np.float32), rate, "flac", "matroska", layout)


WEBM = encoded(whistle(48_000, 0.5), 48_000, "libopus", "webm")
M4A = encoded(whistle(44_100, 0.5), 44_100, "aac", "mp4")
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a video": (lambda: video_alone(), "holds no sound"),
    "a beginning alone": (lambda: WEBM[:40], "can't be decoded"),
    "the magic alone": (lambda: WEBM[:4], "can't be decoded"),
    "an mp4 cut off": (lambda: M4A[: len(M4A) // 2], "can't be decoded"),
    "noise after the magic": (lambda: WEBM[:4] + np.random.default_rng(1).bytes(5_000), "can't be decoded|no sound"),
    "11 minutes": (lambda: quiet(660, 8_000), "lasts longer than 600 s"),
    "a rate of 900 Hz": (
        lambda: encoded(np.zeros(900, np.float32), 900, "pcm_f32le", "matroska"),
        "a sample rate of 900 Hz",
    ),
    "NaN": (lambda: encoded(np.full(900, np.nan, np.float32), 8_000, "pcm_f32le", "matroska"), "not finite"),
    "16 channels": (
        lambda: encoded(np.zeros((16, 800), np.float32), 8_000, "pcm_f32le", "matroska", "hexadecagonal"),
        "more than 8 channels",
    ),
    "a playlist": (
        lambda: b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n",
        "not a sound file",
    ),
}


@pytest.mark.parametrize(("make", "said"), HOSTILE.values(), ids=HOSTILE.keys())
def test_what_cannot_be_decoded_gets_one_sentence(make: Callable[[], bytes], said: str) -> None:
    data = make()
    tracemalloc.start()
    try:
        with pytest.raises(EarmarkError, match=said) as caught:
            decode(data, "mine.webm")
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()
    assert "mine.webm" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", sorted(HOSTILE.keys() - {"11 minutes"}))
def test_what_cannot_be_streamed_gets_one_sentence(kind: str) -> None:
    make, said = HOSTILE[kind]
    file = io.BytesIO(make())
    said = said.replace("not a sound file", "neither WebM, Matroska, MP4 nor AAC")
    with pytest.raises(EarmarkError, match=said) as caught, CompressedSource(file, "mine.webm") as source:
        list(source)
    assert "mine.webm" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert file.closed


@pytest.mark.parametrize(
    ("codec", "container", "rate"),
    [("libopus", "webm", 48_000), ("aac", "mp4", 44_100), ("aac", "adts", 44_100), ("flac", "matroska", 16_000)],
)
def test_a_stream_gives_what_decoding_it_whole_gives(codec: str, container: str, rate: int) -> None:
    data = encoded(whistle(rate, 2.5), rate, codec, container)
    expected = decode(data, "mine")
    with CompressedSource(io.BytesIO(data), "mine", 0.5) as source:
        assert source.sample_rate == expected.sample_rate == rate
        chunks = list(source)
        again = list(source)
    assert len(chunks) in (5, 6)
    np.testing.assert_array_equal(np.concatenate(chunks), expected.samples)
    np.testing.assert_array_equal(np.concatenate(again), expected.samples)


@pytest.mark.slow
def test_a_recording_of_any_length_is_streamed_in_constant_memory() -> None:
    peaks = []
    for seconds in (60, 660):
        data = quiet(seconds, 48_000, "stereo", 2)
        tracemalloc.start()
        with CompressedSource(io.BytesIO(data), "mine.mkv", 16) as source:
            assert sum(map(len, source)) == seconds * 48_000
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] < 32 << 20


def test_a_recording_that_changes_midway_is_told() -> None:
    """An AAC stream tells rate and channels in each packet's header, so that streams may follow one another."""
    slow, fast = (encoded(whistle(rate), rate, "aac", "adts") for rate in (22_050, 44_100))
    said = r"^mine\.aac changes its sample rate midway: save it as WAV or FLAC\.$"
    with pytest.raises(EarmarkError, match=said), CompressedSource(io.BytesIO(slow + fast), "mine.aac") as source:
        list(source)
    with pytest.raises(EarmarkError, match=said):
        decode(slow + fast, "mine.aac")


def test_streaming_needs_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    file = io.BytesIO(WEBM)
    with pytest.raises(
        EarmarkError, match=r"^Reading mine\.webm needs the package av: install it with .*earmark\[webm\]"
    ):
        CompressedSource(file, "mine.webm")
    assert file.closed


@given(st.data())
def test_damage_of_any_kind_is_an_error_or_harmless(data: st.DataObject) -> None:
    damaged = bytearray(data.draw(st.sampled_from([WEBM, M4A])))
    for _ in range(data.draw(st.integers(1, 5))):
        last = data.draw(st.sampled_from([399, len(damaged) - 1]))  # containers begin with what matters most
        damaged[data.draw(st.integers(4, last))] = data.draw(st.integers(0, 255))
    cut = bytes(damaged[: data.draw(st.integers(8, len(damaged)) | st.just(len(damaged)))])
    with suppress(EarmarkError):
        decode(cut, "mine.webm")
    with suppress(EarmarkError), CompressedSource(io.BytesIO(cut), "mine.webm") as source:
        for chunk in source:
            assert np.abs(chunk).max() <= 1


def test_without_pyav_the_program_ffmpeg_decodes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("needs the program ffmpeg")
    expected = [decode(data, "mine.webm") for data in (WEBM, M4A)]
    monkeypatch.setitem(sys.modules, "av", None)
    for data, by_library in zip((WEBM, M4A), expected, strict=True):
        clip = decode(data, "mine.webm")
        assert clip.sample_rate == by_library.sample_rate
        assert 0 <= len(by_library.samples) - len(clip.samples) < 1_024  # it cuts the last packet as MP4 says
        np.testing.assert_allclose(clip.samples, by_library.samples[: len(clip.samples)], atol=1e-5)
    with pytest.raises(EarmarkError, match="can't be decoded"):
        decode(WEBM[:40], "mine.webm")
    with pytest.raises(EarmarkError, match="lasts longer than 600 s"):
        decode(quiet(660, 8_000), "mine.mkv")


def test_a_program_that_fails_is_told_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EarmarkError, match=r"^mine\.webm can't be decoded: [^\n]*$"):
        decode(WEBM, "mine.webm")


def test_without_any_decoder_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        EarmarkError,
        match=r"^Reading mine\.webm needs the package av: install it with `pip install 'earmark\[webm\]'`\.$",
    ):
        decode(WEBM, "mine.webm")
    assert decode(encode_flac(Clip(np.zeros(8, np.float32), 8_000)), "mine.flac").sample_rate == 8_000
