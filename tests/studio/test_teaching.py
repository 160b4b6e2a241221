"""Teaching words over HTTP and the live connection: mode and base, training on a base, listening, evaluation."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import earmark
from earmark.evaluation.advice import as_dict
from tests import sounds
from tests.studio import spoken
from tests.studio.running import Page, Studio, studio

TAUGHT = ("happy", "cat")
COUNT = 6  # recordings of each
needs_speech = pytest.mark.skipif(find_spec("livekit") is None, reason="needs earmark[speech]")


@pytest.fixture(scope="module")
def taught(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of two words, not trained. Don't change it."""
    project = earmark.Project(tmp_path_factory.mktemp("taught") / "words", create=True, mode="words")
    for word in TAUGHT:
        for clip in spoken.recordings_of(recordings, word, COUNT):
            project.add(word, clip, spoken.RATE)
    return project.path


@pytest.fixture(scope="module")
def trained_on(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The project trained on each base that is here. Don't change them."""
    found = {}
    for base in ("words", "speech") if find_spec("livekit") else ("words",):
        path = tmp_path_factory.mktemp(base) / "words"
        shutil.copytree(taught, path)
        project = earmark.Project(path)
        project.set_base(base)
        project.train()
        found[base] = path
    return found


@pytest.fixture
def copied(taught: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(taught, tmp_path / "words"))


@pytest.fixture(scope="module")
def said(recordings: Path) -> sounds.Samples:
    """The taught words as others said them, with a pause around each."""
    parts = []
    for word in TAUGHT:
        for number, clip in enumerate(spoken.recordings_of(recordings, word, 3, "val")):
            parts += [spoken.quiet(spoken.PAUSE, number), clip]
    return np.concatenate([*parts, spoken.quiet(1.5, 9)])


def change(running: Studio, **values: str) -> dict[str, Any]:
    answer = running.request("PATCH", "/api/project", json=values)
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


def test_the_mode_changes_what_is_counted_and_keeps_the_recordings(tmp_path: Path) -> None:
    project = earmark.Project(tmp_path / "clapper", create=True, labels=("Left",))
    for take in (1, 2):
        project.add("Left", sounds.whistle(1.0, take), sounds.RATE)
    with studio(project.path) as running:
        page = Page(running)
        before = running.project()
        assert (before["mode"], before["base"], before["examples"]) == ("sounds", "sounds", 80)  # 43 hops a second − 3
        assert [base["name"] for base in before["bases"]] == ["sounds"]
        after = change(running, mode="words")
        assert (after["mode"], after["examples"], after["labels"][0]["examples"]) == ("words", 2, 2)
        assert [base["name"] for base in after["bases"]] == ["auto", "speech", "words", "ear", "yamnet"]
        assert all(base["explanation"] for base in after["bases"])
        assert after["base"] == "auto"
        page.wait("changed")
        assert change(running, base="words")["base"] == "words"
        assert earmark.Project(project.path).base == "words"
        assert change(running, mode="sounds")["labels"] == before["labels"]
        page.close()


@pytest.mark.thinned(1)
@pytest.mark.parametrize(
    "values", [{"mode": "letters"}, {"base": "letters"}, {"base": "speech"}, {"mode": "words", "base": "words"}]
)
def test_a_mode_or_base_that_is_not_there_is_told_and_changes_nothing(tmp_path: Path, values: dict[str, str]) -> None:
    with studio(tmp_path / "clapper") as running:
        before = running.project()
        answer = running.request("PATCH", "/api/project", json=values)
        assert answer.status_code == 400
        assert answer.json()["error"].endswith(".")
        assert running.project() == before


def test_a_running_recording_of_a_word_counts_as_one(tmp_path: Path) -> None:
    with studio(tmp_path / "clapper") as running:
        change(running, mode="words")
        page = Page(running)
        page.record("aaaaaaa1", "Left", sounds.whistle(1.0, 1))
        counts = {page.wait("recording")["examples"] for _ in range(47)}  # 48,000 samples are 47 chunks
        assert counts == {0, 1}
        page.wait("saved")
        assert running.project()["examples"] == 1
        page.close()


def test_one_word_is_trained_with_progress_and_epochs_and_noise_besides(copied: Path) -> None:
    project = earmark.Project(copied)
    project.remove_label("cat")
    with studio(copied) as running:
        change(running, base="words")
        page = Page(running)
        assert running.request("POST", "/api/train").status_code == 200
        progress = page.wait("training", state="progress")
        assert (progress["count"], 0 < progress["done"] <= COUNT, bool(progress["what"])) == (COUNT, True, True)
        epoch = page.wait("training", state="epoch", epoch=50)
        assert epoch["epochs"] == 50
        assert epoch["validation_accuracy"] is None
        page.wait("training", state="done")
        described = running.project()
        assert described["model"]["labels"] == ["happy", "_background_noise_", "_unknown_"]
        assert (described["model"]["base"], described["model"]["stale"]) == ("words", False)
        assert len(described["training"]["epochs"]) == 50
        page.close()


@pytest.mark.thinned(1)
@pytest.mark.parametrize("base", ["words", pytest.param("speech", marks=needs_speech)])
def test_what_the_studio_hears_is_what_the_api_hears(
    trained_on: dict[str, Path], said: sounds.Samples, base: str
) -> None:
    """The waveform's frames are not the spectrogram's: the hearing makes its own."""
    recognizer = earmark.Project(trained_on[base]).model()
    assert recognizer.front_end.name == {"words": "spectrogram", "speech": "waveform"}[base]
    expected = [window.scores for window in recognizer.stream(said, sample_rate=spoken.RATE)]
    found = list(recognizer.listen(said, sample_rate=spoken.RATE))
    assert set(TAUGHT) == {detection.label for detection in found}
    with studio(trained_on[base]) as running:
        page = Page(running, spoken.RATE)
        page.say(type="listen", on=True, model="project", probability_threshold=0.75)
        assert tuple(page.wait("listening")["labels"]) == recognizer.labels
        page.play(said)
        page.say(type="listen", on=False)
        page.wait("listening")
        assert len(page.heard) >= len(expected) - 2 > 20  # the resampler holds the last frames back
        assert np.array_equal(np.array(page.heard, np.float32), expected[: len(page.heard)])
        ended = [told for told in page.detections if told["ended"]]
        keys = ("label", "score", "start", "end")
        assert [tuple(told[key] for key in keys) for told in ended] == [
            tuple(getattr(detection, key) for key in keys) for detection in found
        ]
        page.close()


@pytest.mark.slow
@needs_speech
def test_a_waveform_heard_from_the_middle_of_the_stream_has_the_streams_times(
    trained_on: dict[str, Path], said: sounds.Samples
) -> None:
    recognizer = earmark.Project(trained_on["speech"]).model()
    found = list(recognizer.listen(said, sample_rate=spoken.RATE))
    before = spoken.quiet(2.5, 3)
    with studio(trained_on["speech"]) as running:
        page = Page(running, spoken.RATE)
        page.play(before)
        page.say(type="listen", on=True, model="project", probability_threshold=0.75)
        page.wait("listening")
        page.play(said)
        page.say(type="listen", on=False)
        page.wait("listening")
        starts = [told["start"] for told in page.detections if told["ended"]]
        assert starts == pytest.approx([2.5 + detection.start for detection in found], abs=1e-6)
        page.close()


@needs_speech
def test_the_model_that_listens_is_the_bases_and_the_modes(trained_on: dict[str, Path], tmp_path: Path) -> None:
    path = Path(shutil.copytree(trained_on["words"], tmp_path / "words"))
    with studio(path) as running:
        assert running.project()["model"]["name"] == "words"
        assert change(running, base="speech")["model"]["name"] == "words", "the only one there is"
        assert change(running, mode="sounds")["model"] is None, "it hears no short sounds"
        shutil.copytree(trained_on["speech"] / "models" / "speech", path / "models" / "speech")
        assert change(running, mode="words")["model"]["name"] == "speech"
        assert change(running, base="words")["model"]["name"] == "words"


@pytest.fixture(scope="module")
def evaluated(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with an evaluation on the base words, and no model."""
    path = Path(shutil.copytree(taught, tmp_path_factory.mktemp("evaluated") / "words"))
    with studio(path) as running:
        change(running, base="words")
        page = Page(running)
        assert running.request("GET", "/api/evaluation").json() is None
        assert running.request("GET", "/api/report").status_code == 404
        assert running.request("POST", "/api/evaluate").json()["evaluation"]["running"] is True
        assert running.request("POST", "/api/train").status_code == 400, "one job at a time"
        page.wait("evaluation", state="started")
        assert page.wait("evaluation", state="progress", done=5)["count"] == 5
        page.wait("evaluation", state="done")
        page.close()
    return path


def test_an_evaluation_gives_numbers_and_a_report(evaluated: Path) -> None:
    with studio(evaluated) as running:
        kept = running.request("GET", "/api/evaluation").json()
        expected = as_dict(earmark.Project(evaluated).evaluate("words"))
        assert {key: kept[key] for key in expected} == json.loads(json.dumps(expected))
        assert kept["accuracy"]["count"] == 2 * COUNT
        assert sum(map(sum, kept["confusion"])) == 2 * COUNT
        assert (kept["base"], kept["stale"], kept["report"], kept["report_remedy"]) == (
            "words", False, "/api/report", None,
        )  # fmt: skip
        described = running.project()
        assert described["evaluation"]["created"] == kept["created"]
        assert described["evaluation"]["running"] is False
        assert described["model"] is None


def test_the_report_may_show_itself_but_load_and_run_nothing(evaluated: Path) -> None:
    with studio(evaluated) as running:
        report = running.request("GET", "/api/report")
        assert report.headers["content-type"].startswith("text/html")
        assert "<html" in report.text
        assert "12 recordings" in report.text
        policy = report.headers["content-security-policy"]
        for part in ("default-src 'none'", "img-src data:", "media-src data:", "style-src 'unsafe-inline'"):
            assert part in policy
        assert "script" not in policy
        assert report.headers["x-content-type-options"] == "nosniff"
        assert "unsafe" not in running.request("GET", "/").headers["content-security-policy"]


@pytest.mark.slow
def test_an_evaluation_of_other_recordings_is_stale_and_one_of_another_base_another(
    evaluated: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copytree(evaluated, tmp_path / "words"))
    with studio(path) as running:
        assert change(running, base="speech")["evaluation"]["created"] is None
        assert change(running, base="words")["evaluation"]["created"] is not None
        running.request("POST", "/api/labels", json={"name": "dog"})
        assert running.request("GET", "/api/evaluation").json()["stale"] is True
        assert running.project()["evaluation"]["stale"] is True
        running.request("POST", "/api/undo")
        assert running.project()["evaluation"]["stale"] is False


@pytest.mark.slow
def test_without_matplotlib_there_are_numbers_and_what_to_install(evaluated: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(evaluated, tmp_path / "words"))
    script = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import earmark; from earmark.studio.evaluating import evaluate\n"
        "evaluate(earmark.Project(sys.argv[1]), lambda *_: None)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    assert not (path / "models" / "words" / "report.html").exists(), "the older one tells of another evaluation"
    with studio(path) as running:
        kept = running.request("GET", "/api/evaluation").json()
        assert kept["accuracy"]["count"] == 2 * COUNT
        assert kept["report"] is None
        assert "pip install" in kept["report_remedy"]
        assert running.request("GET", "/api/report").status_code == 404


@pytest.mark.thinned(1)
@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b'{"accuracy": 1}', b"[" * 100_000])
def test_an_evaluation_that_somebody_broke_is_none(evaluated: Path, tmp_path: Path, content: bytes) -> None:
    path = Path(shutil.copytree(evaluated, tmp_path / "words"))
    (path / "models" / "words" / "evaluation.json").write_bytes(content)
    with studio(path) as running:
        assert running.request("GET", "/api/evaluation").json() is None
        assert running.project()["evaluation"]["created"] is None


@pytest.mark.slow
def test_a_cancelled_evaluation_leaves_the_old_one_and_training_goes_on(evaluated: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(evaluated, tmp_path / "words"))
    with studio(path) as running:
        before = running.request("GET", "/api/evaluation").json()
        page = Page(running)
        running.request("POST", "/api/evaluate")
        assert running.request("DELETE", "/api/train").json()["evaluation"]["running"] is True, "that isn't running"
        assert running.request("DELETE", "/api/evaluate").json()["evaluation"]["running"] is False
        page.wait("evaluation", state="cancelled")
        assert running.request("GET", "/api/evaluation").json() == before
        running.request("POST", "/api/train")
        page.wait("training", state="done")
        assert set(TAUGHT) < set(running.project()["model"]["labels"])
        page.close()


@pytest.mark.slow
def test_too_few_recordings_to_evaluate_are_told(tmp_path: Path) -> None:
    project = earmark.Project(tmp_path / "words", create=True, mode="words")
    project.set_base("words")
    project.add("once", sounds.whistle(1.0, 1), sounds.RATE)
    with studio(project.path) as running:
        page = Page(running)
        running.request("POST", "/api/evaluate")
        assert "at least two" in page.wait("evaluation", state="failed")["error"]
        assert running.request("GET", "/api/evaluation").json() is None
        page.close()


def open_and_end(project: Path, mode: str | None = None) -> earmark.Project:
    """Open a studio in that mode, end it as soon as it answers, and read the project."""
    code = "import sys; from pathlib import Path; from earmark.studio.serve import serve; "
    code += f"serve(Path(sys.argv[1]), 0, False, lambda address: print(address, flush=True), {mode!r})"
    with subprocess.Popen([sys.executable, "-c", code, str(project)], stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        assert "http://" in started.stdout.readline()
        started.terminate()
    return earmark.Project(project)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "labels"), [(None, 3), pytest.param("sounds", 3, marks=pytest.mark.slow), ("words", 0)]
)
def test_a_studio_is_opened_in_a_mode(tmp_path: Path, mode: str | None, labels: int) -> None:
    project = open_and_end(tmp_path / "new", mode)
    assert (project.mode, len(project.labels)) == (mode or "sounds", labels)
    open_and_end(tmp_path / "new", "words")
    project = open_and_end(tmp_path / "new")
    assert (project.mode, len(project.labels)) == ("words", labels)
