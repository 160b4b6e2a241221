"""Detections from few scores are those of all scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from earmark import EarmarkError
from earmark.front_end.frames import Frames
from earmark.front_end.spectrogram import BINS
from earmark.models.metadata import KEY, FixedNormalization, Metadata
from earmark.recognizer.decisions import Decisions, Detection, ScoredWindow
from earmark.recognizer.detecting import Detector
from earmark.recognizer.recognizer import Recognizer, load
from tests.budget import budget

LABELS = ("_background_noise_", "one", "two")
WINDOW, HOP = 20, 4  # frames; 20 is a word's window, for which windows have to agree


def telling_recognizer() -> Recognizer:
    """One whose scores stand in the first values of a window's first frame."""
    window = helper.make_tensor_value_info("window", TensorProto.FLOAT, ["n", WINDOW, BINS])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", len(LABELS)])
    constants = {"starts": [0, 0, 0], "ends": [1 << 30, 1, len(LABELS)], "shape": [-1, len(LABELS)]}
    nodes = [
        helper.make_node("Slice", ["window", "starts", "ends"], ["first"]),
        helper.make_node("Reshape", ["first", "shape"], ["scores"]),
    ]
    tensors = [helper.make_tensor(name, TensorProto.INT64, [len(v)], v) for name, v in constants.items()]
    graph = helper.make_graph(nodes, "telling", [window], [scores], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, Metadata("telling", LABELS, WINDOW, FixedNormalization(0, 1)).to_json()
    return Recognizer(model.SerializeToString())


RECOGNIZER = telling_recognizer()


def frames_that_score(scores: npt.NDArray[np.float32]) -> Frames:
    """Frames whose windows get these scores, shape [windows, labels]."""
    frames = np.zeros((len(scores) * HOP + WINDOW - HOP, BINS), np.float32)
    frames[: len(scores) * HOP : HOP, : len(LABELS)] = scores
    return frames


def all_scored(decisions: Decisions, scores: npt.NDArray[np.float32]) -> list[Detection]:
    """What the decision stage makes of every window's scores."""
    frame = RECOGNIZER.front_end.frame_seconds
    windows = [ScoredWindow(row, at * HOP * frame, (at * HOP + WINDOW) * frame) for at, row in enumerate(scores)]
    return decisions.process(windows) + decisions.finish()


def detector(decisions: Decisions) -> Detector:
    return Detector(RECOGNIZER, decisions, overlap_factor=1 - HOP / WINDOW)


@st.composite
def runs(draw: st.DrawFn) -> npt.NDArray[np.float32]:
    """Scores of windows: runs of a label, sure of it more or less."""
    rows = []
    for _ in range(draw(st.integers(1, 12))):
        label, score = draw(st.integers(0, 2)), draw(st.sampled_from([0.4, 0.55, 0.7, 0.75, 0.8, 0.95]))
        row = np.full(len(LABELS), (1 - score) / 2, np.float32)
        row[label] = score
        rows += [row] * draw(st.integers(1, 9))
    return np.array(rows)


@budget(400)
@given(
    scores=runs(),
    agreeing=st.integers(1, 7),
    smoothing=st.sampled_from([1, 1, 1, 3]),
    longest=st.sampled_from([None, 1_000.0, 200.0]),
    suppression=st.sampled_from([0.0, 300.0]),
    noise=st.booleans(),
    own=st.sampled_from([{}, {"one": 0.5}, {"two": 0.9}]),
    cuts=st.lists(st.integers(0, 400), max_size=6),
)
def test_few_scores_give_the_detections_of_all(
    scores: npt.NDArray[np.float32], agreeing: int, smoothing: int, longest: float | None, suppression: float,
    noise: bool, own: dict[str, float], cuts: list[int],
) -> None:  # fmt: skip
    def decisions() -> Decisions:
        return Decisions(
            LABELS, probability_threshold=0.75, min_agreeing_windows=agreeing, smoothing_windows=smoothing,
            longest_sound_ms=longest, suppression_time_ms=suppression, label_thresholds=own,
            invoke_callback_on_noise_and_unknown=noise,
        )  # fmt: skip

    frames = frames_that_score(scores)
    heard = detector(decisions())
    found = [each for part in np.split(frames, sorted(cuts)) for each in heard.process(part)] + heard.finish()
    expected = all_scored(decisions(), scores)
    assert found == expected
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.scores, theirs.scores)


def test_a_detection_is_open_as_soon_as_its_windows_agree() -> None:
    scores = np.tile(np.array([1, 0, 0], np.float32), (13, 1))
    scores[6:] = (0, 1, 0)  # five agree with the eleventh, at 10
    decisions = Decisions(LABELS, probability_threshold=0.75, smoothing_windows=1, min_agreeing_windows=5)
    heard = detector(decisions)
    frames = frames_that_score(scores)
    for frame in range(10 * HOP + WINDOW - 1):
        heard.process(frames[frame : frame + 1])
        assert decisions.open is None
    heard.process(frames[10 * HOP + WINDOW - 1 :][:1])
    assert decisions.open is not None
    assert decisions.open.label == "one"
    assert decisions.open.start == pytest.approx(6 * HOP * RECOGNIZER.front_end.frame_seconds)


def test_while_nothing_is_heard_every_fifth_window_is_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    scored = []
    score = Recognizer.recognize_windows

    def counted(self: Recognizer, windows: Frames, *include: bool) -> object:
        scored.append(len(windows))
        return score(self, windows, *include)

    monkeypatch.setattr(Recognizer, "recognize_windows", counted)
    scores = np.tile(np.array([1, 0, 0], np.float32), (200, 1))
    heard = detector(Decisions(LABELS, probability_threshold=0.75, smoothing_windows=1, min_agreeing_windows=5))
    assert heard.process(frames_that_score(scores)) == []
    assert scored == [40]


def test_real_words_give_the_same_detections(recordings: Path) -> None:
    recognizer = load("words")
    file = recordings / "free_spoken_digits" / "test-eight.ogg"
    decisions = recognizer.decisions()
    expected = decisions.process(list(recognizer.stream(file))) + decisions.finish()
    assert len(expected) > 3
    assert list(recognizer.listen(file)) == expected


def test_a_wrong_overlap_is_told() -> None:
    with pytest.raises(EarmarkError, match=r"overlap_factor is 1\.5"):
        Detector(RECOGNIZER, Decisions(LABELS, probability_threshold=0.5), 1.5)
