"""`earmark bench`: real runs, as short as they can be. No time is asserted, but what times must be to one another."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earmark import Project
from earmark.bench import Spread, make_sound, measure, spread_of, training_time
from tests import tones
from tests.cli.test_main import complaint, run, run_json
from tests.tfjs_models import save_small

SHORT = ("--seconds", "0")  # each thing three times, no more
SPREADS = (
    "frame_us", "window_us", "batched_window_us", "second_every_window_us", "second_scanned_us", "second_live_us",
    "second_resampled_us", "import_ms", "load_ms", "load_again_ms", "training_seconds",
)  # fmt: skip
FACTS = (
    "machine", "model", "labels", "frame_seconds", "window_seconds", "hop_seconds", "sound_seconds", "batch_windows",
    "windows_per_second", "realtime_factor_every_window", "realtime_factor_scanned", "live_streams_per_core",
)  # fmt: skip


def assert_consistent(told: dict[str, Any]) -> None:
    """Times are positive, quartiles lie around medians, and what is worked out from them is that."""
    assert set(told) == {*SPREADS, *FACTS}  # programs read them by these names
    for name in SPREADS:
        spread = told[name]
        assert 0 < spread["lower_quartile"] <= spread["median"] <= spread["upper_quartile"], name
        assert spread["runs"] >= 3, name
    assert told["import_ms"]["median"] <= told["load_ms"]["median"]  # each load has its import in it
    for derived, cost in (
        ("realtime_factor_every_window", "second_every_window_us"),
        ("realtime_factor_scanned", "second_scanned_us"),
        ("live_streams_per_core", "second_live_us"),
    ):
        assert told[derived] == pytest.approx(1e6 / told[cost]["median"])


def assert_what_is_in_a_second(told: dict[str, Any]) -> None:
    """Every number is of the piece that its name says: a wrong count would be wrong thirtyfold or more."""
    cost = {name: told[name]["median"] for name in SPREADS}
    assert 1 / 4 < cost["batched_window_us"] / cost["window_us"] < 4
    assert cost["load_ms"] > 2 * cost["import_ms"]  # numpy and ONNX Runtime come with the model
    assert cost["load_again_ms"] < cost["load_ms"]
    frames = cost["frame_us"] / told["frame_seconds"]
    parts = frames + told["windows_per_second"] * cost["batched_window_us"]
    assert 1 / 4 < cost["second_every_window_us"] / parts < 4
    assert cost["second_scanned_us"] < 1.5 * cost["second_every_window_us"]
    assert cost["second_live_us"] < 4 * cost["second_scanned_us"]
    assert cost["second_scanned_us"] > frames / 4
    assert cost["second_live_us"] > frames / 4
    assert cost["second_resampled_us"] > frames / 50


@pytest.mark.slow
def test_words_and_the_machine_are_measured() -> None:
    (told,) = run_json("bench", *SHORT)
    assert_consistent(told)
    assert (told["model"], told["labels"]) == ("words", 20)
    assert told["frame_seconds"] == 1_024 / 44_100
    assert told["window_seconds"] == pytest.approx(43 * 1_024 / 44_100)
    assert_what_is_in_a_second(told)
    assert told["windows_per_second"] == pytest.approx(44_100 / 1_024 / 4)  # every fourth frame: 93 ms
    assert told["sound_seconds"] == 32
    machine = told["machine"]
    if hasattr(os, "sched_getaffinity"):  # on Linux
        assert machine["usable_cores"] == len(os.sched_getaffinity(0))
    assert machine["python"] == platform.python_version()
    for package in ("numpy", "onnxruntime", "earmark"):
        assert machine[package] == version(package)
    assert machine["processor"]


@pytest.mark.slow
def test_short_sounds_have_a_window_every_frame(trained: Project) -> None:
    told = measure(str(trained.path), 0).as_dict()
    assert_consistent(told)
    assert told["labels"] == 3
    assert told["windows_per_second"] == pytest.approx(44_100 / 1_024)


@pytest.mark.slow
def test_a_tensorflow_js_model_is_measured(tmp_path: Path) -> None:
    told = measure(str(save_small(tmp_path / "tfjs")), 0).as_dict()
    assert_consistent(told)
    assert told["window_seconds"] == pytest.approx(3 * 1_024 / 44_100)


@pytest.mark.slow
def test_a_model_of_the_waveform_is_measured(tmp_path: Path) -> None:
    (tmp_path / "tones.onnx").write_bytes(tones.tone_model())
    told = measure(str(tmp_path / "tones.onnx"), 0).as_dict()
    assert_consistent(told)
    assert told["frame_seconds"] == 0.02


@pytest.mark.slow
def test_a_person_gets_a_table() -> None:
    told = run("bench", *SHORT).stdout.decode()
    number = r"\d[\d.]* (µs|ms|s)"
    rows = [line for line in told.splitlines() if re.search(rf"│ {number} +│ {number} – {number} +│", line)]
    assert len(rows) == len(SPREADS)
    assert "20 labels" in told
    assert "10.8 of them a second" in told
    assert re.search(r"By arithmetic it keeps up with [\d,]+ live streams; a server's own work is not counted\.", told)


@pytest.mark.slow
def test_without_what_training_needs_the_rest_is_measured() -> None:
    script = "import sys; sys.modules['onnx'] = None; from earmark.cli.main import main; main()"
    command = [sys.executable, "-c", script, "bench", *SHORT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (
        "Training was not measured, as a package for it is missing: run `pip install 'earmark[train]'`." in done.stdout
    )
    assert "a window alone" in done.stdout


def test_a_model_that_is_not_there_is_told() -> None:
    assert "nowhere.onnx does not exist: check the path." in complaint("bench", *SHORT, "--model", "nowhere.onnx")


def test_the_sound_is_the_same_each_time_and_has_words_and_pauses() -> None:
    sound = make_sound(10, 44_100)
    assert sound.samples.dtype == np.float32
    assert sound.seconds == 10
    assert np.array_equal(sound.samples, make_sound(10, 44_100).samples)
    assert np.abs(sound.samples).max() < 1  # nothing is cut off
    tenths = np.sqrt(np.mean(np.square(sound.samples.reshape(100, -1)), axis=1))
    assert 0.2 < np.mean(tenths > 0.01) < 0.45  # 0.6 s of every 1.5 s, less where a syllable begins and ends
    assert 0.5 < np.mean(tenths < 0.002) < 0.75


def test_only_the_processors_time_counts() -> None:
    asleep = spread_of(lambda: time.sleep(0.05), 0)
    assert asleep.median < 0.02


def test_the_time_is_that_of_one_call_of_many() -> None:
    assert spread_of(lambda: None, 0.2).median < 1e-4  # each run measures a hundredth of a second of calls


def test_a_pieces_share_of_the_work_and_its_unit_are_counted() -> None:
    calls: list[int] = []

    def work() -> None:
        calls.append(sum(range(50_000)))

    spread = spread_of(work, 0, factor=1e6)
    assert spread.runs == 3
    assert len(calls) >= 4  # the first isn't measured
    assert spread.median > 100  # µs: no interpreter adds fifty thousand numbers within 100


def test_the_training_is_the_codelabs(monkeypatch: pytest.MonkeyPatch) -> None:
    import earmark.training.sound_network as training

    asked: list[tuple[int, int, int]] = []
    train = training.train_sounds

    def watched(examples: Any, labels: int, **options: Any) -> Any:
        asked.append((len(examples), labels, options["epochs"]))
        return train(examples, labels, **options)

    monkeypatch.setattr(training, "train_sounds", watched)
    assert isinstance(training_time(0), Spread)
    assert set(asked) == {(450, 3, 10)}
