"""The studio's HTTP side: the project's changes, bad input, and visitors from elsewhere."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from websockets import Origin
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

import earmark
from tests import sounds
from tests.studio.running import Studio, studio


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with studio(tmp_path_factory.mktemp("server") / "clapper") as started:
        yield started


def sound_file(samples: np.ndarray, container: str = "WAV", subtype: str = "PCM_16", rate: int = sounds.RATE) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=container, subtype=subtype)
    return buffer.getvalue()


WHISTLE = sounds.whistle(1.0, 1)


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def label_names(project: dict[str, Any]) -> list[str]:
    return [label["name"] for label in project["labels"]]


def upload(running: Studio, data: bytes, name: str = "take.wav", label: str = "Left") -> httpx.Response:
    return running.request("POST", "/api/clips", params={"label": label, "name": name}, content=data)


def test_a_new_project_has_the_codelabs_classes(running: Studio) -> None:
    assert label_names(running.project()) == ["Left", "Right", "Noise"]


def test_labels_can_be_added_changed_and_removed_and_each_step_undone(running: Studio) -> None:
    start = running.project()["labels"]

    def change(method: str, path: str, **options: Any) -> list[str]:
        answer = running.request(method, path, **options)
        assert answer.status_code == 200, answer.text
        return label_names(answer.json())

    assert change("POST", "/api/labels", json={"name": "AC/DC 🎸"})[-1] == "AC/DC 🎸"
    assert change("PATCH", "/api/labels", params={"label": "AC/DC 🎸"}, json={"position": 0})[0] == "AC/DC 🎸"
    assert change("PATCH", "/api/labels", params={"label": "AC/DC 🎸"}, json={"name": "../x"})[0] == "../x"
    assert "../x" not in change("DELETE", "/api/labels", params={"label": "../x"})
    for _ in range(4):
        assert running.request("POST", "/api/undo").status_code == 200
    assert running.project()["labels"] == start


def test_a_clip_can_be_added_moved_trimmed_and_deleted_and_each_step_undone(running: Studio) -> None:
    start = running.project()
    added = upload(running, sound_file(WHISTLE)).json()
    (clip,) = [clip["id"] for clip in added["labels"][0]["clips"]]
    moved = running.request("PATCH", "/api/clips", params={"clip": clip}, json={"label": "Right"}).json()
    (clip,) = [clip["id"] for clip in moved["labels"][1]["clips"]]
    span = {"start": 0.25, "end": 0.75}
    trimmed = running.request("PATCH", "/api/clips", params={"clip": clip}, json=span).json()
    (entry,) = trimmed["labels"][1]["clips"]
    assert entry["seconds"] == 0.5
    assert entry["id"] != clip
    audio = running.request("GET", "/api/clips/audio", params={"clip": entry["id"]}).content
    assert np.abs(earmark.read_clip(audio).samples - WHISTLE[12_000:36_000]).max() < 2**-14
    picture = running.request("GET", "/api/clips/spectrogram", params={"clip": entry["id"]}).content
    assert len(picture) == 20 * 232  # 0.5 s are 21 hops, and the first frame needs two
    deleted = running.request("DELETE", "/api/clips", params={"clip": entry["id"]}).json()
    assert deleted["labels"][1]["clips"] == []
    for _ in range(4):
        running.request("POST", "/api/undo")
    assert running.project()["labels"] == start["labels"]
    assert running.request("GET", "/api/clips/audio", params={"clip": clip}).status_code == 400


def test_an_undo_that_is_too_late_is_refused_and_a_change_that_is_none_is_no_step(running: Studio) -> None:
    first = running.request("POST", "/api/labels", json={"name": "A"}).json()["undo_step"]
    second = running.request("POST", "/api/labels", json={"name": "B"}).json()["undo_step"]
    unchanged = running.request("PATCH", "/api/labels", params={"label": "B"}, json={}).json()
    assert (first, second) != (second, first)
    assert unchanged["undo_step"] == second
    refused = running.request("POST", "/api/undo", params={"step": first})
    assert refused.status_code == 400
    assert "can't be undone any more" in refused.json()["error"]
    for step in (second, first):
        assert running.request("POST", "/api/undo", params={"step": step}).status_code == 200
    assert label_names(running.project()) == ["Left", "Right", "Noise"]


@pytest.mark.slow
def test_a_card_that_somebody_broke_does_not_break_the_project(trained: earmark.Project, tmp_path: Path) -> None:
    shutil.copytree(trained.path, tmp_path / "copy")
    card = tmp_path / "copy" / "models" / "sounds" / "model.json"
    card.write_text(json.dumps({**json.loads(card.read_text()), "metrics": [1], "labels": {"Left": 1}}))
    with studio(tmp_path / "copy") as other:
        assert other.project()["model"]["accuracy"] is None


def test_recordings_go_out_as_a_zip_and_come_back_the_same(running: Studio, tmp_path: Path) -> None:
    upload(running, sound_file(WHISTLE), "one.wav", "Left")
    upload(running, sound_file(sounds.snaps(0.5, 2)), "two.wav", "Right")
    archive = running.request("GET", "/api/export").content
    assert sorted(zipfile.ZipFile(io.BytesIO(archive)).namelist()) == ["Left/one.flac", "Right/two.flac"]
    with studio(tmp_path / "other") as other:
        answer = other.request("POST", "/api/import", content=archive).json()
        assert (answer["added"], answer["known"], answer["skipped"]) == (2, 0, [])
        again = other.request("POST", "/api/import", content=archive).json()
        assert (again["added"], again["known"], again["skipped"]) == (0, 2, [])
        assert other.project()["examples"] == running.project()["examples"]
    for _ in range(2):
        running.request("POST", "/api/undo")


BAD_FILES = {
    "text.wav": b"this is no sound at all",
    "empty.wav": b"",
    "none.wav": sound_file(np.zeros(0, np.float32)),
    "nan.wav": sound_file(np.full(48_000, np.nan, np.float32), subtype="FLOAT"),
    "cut.flac": sound_file(WHISTLE, "FLAC")[:-20_000],
    "short.wav": sound_file(WHISTLE[:100]),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_gets_one_sentence_and_nothing_is_written(running: Studio, name: str) -> None:
    before = running.project()
    answer = upload(running, BAD_FILES[name], name)
    assert answer.status_code == 400
    sentence = answer.json()["error"]
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert name in sentence or name == "short.wav"
    assert running.project() == before


@pytest.mark.parametrize("label", ["", "   ", "x" * 300, "a\nb", "left"])
def test_a_bad_label_gets_one_sentence_and_nothing_is_written(running: Studio, label: str) -> None:
    before = running.project()
    answer = running.request("POST", "/api/labels", json={"name": label})
    assert answer.status_code == 400
    assert answer.json()["error"].endswith(".")
    assert running.project() == before


@pytest.mark.parametrize(
    ("channels", "rate", "subtype"), [(1, 8_000, "PCM_U8"), (6, 48_000, "PCM_16"), (2, 192_000, "PCM_24")]
)
def test_unusual_files_are_welcome(running: Studio, channels: int, rate: int, subtype: str) -> None:
    samples = np.repeat(WHISTLE[: rate // 2, None], channels, axis=1)
    answer = upload(running, sound_file(samples, subtype=subtype, rate=rate))
    assert answer.status_code == 200, answer.text
    running.request("POST", "/api/undo")


@pytest.mark.thinned(2)
@pytest.mark.parametrize("name", ["../../../evil.wav", "..\\evil.wav", "/etc/evil.wav", "CON.wav", "\x00.wav"])
def test_a_file_name_never_leads_out_of_its_label(name: str, tmp_path: Path) -> None:
    with studio(tmp_path / "deep" / "clapper") as running:
        assert upload(running, sound_file(WHISTLE), name).status_code == 200
    written = [path for path in files_below(tmp_path) if path.endswith(".flac")]
    assert len(written) == 1
    assert written[0].startswith("deep/clapper/clips/Left/")


@pytest.mark.parametrize("clip", ["", "Left", "Left/", "Left/../../earmark.toml", "../earmark.toml", "/etc/passwd"])
def test_a_clip_id_never_leads_out_of_the_clips(running: Studio, clip: str) -> None:
    for method, path in (("GET", "/api/clips/audio"), ("DELETE", "/api/clips")):
        assert running.request(method, path, params={"clip": clip}).status_code == 400


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example:80"}, {"Host": ""}])
def test_a_foreign_host_is_refused(running: Studio, headers: dict[str, str]) -> None:
    assert running.request("GET", "/api/project", headers=headers).status_code in (400, 403)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost"])
def test_a_foreign_origin_is_refused(running: Studio, origin: str) -> None:
    assert running.request("GET", "/api/project", headers={"Origin": origin}).status_code == 403
    address = f"ws://127.0.0.1:{running.port}/api/live"
    with pytest.raises(InvalidStatus) as refused, connect(address, origin=Origin(origin)):
        pass
    assert refused.value.response.status_code == 403


def test_a_change_without_the_studios_header_is_refused(running: Studio) -> None:
    for method, path in (("POST", "/api/train"), ("POST", "/api/undo"), ("DELETE", "/api/labels?label=Left")):
        assert httpx.request(method, running.address + path).status_code == 403
    assert label_names(running.project())[0] == "Left"


def test_the_page_forbids_inline_script_and_other_sites(running: Studio) -> None:
    policy = running.request("GET", "/").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


def test_an_upload_beyond_the_limit_is_refused(running: Studio) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(300):
            yield b"\x00" * (1 << 20)

    answer = running.request("POST", "/api/clips", params={"label": "Left"}, content=endless())
    assert answer.status_code == 413
    assert "MiB" in answer.json()["error"]


@pytest.mark.slow
def test_a_taken_port_is_told_in_one_sentence(running: Studio, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "earmark", "studio", str(tmp_path / "p"), "--port", str(running.port)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert str(running.port) in ended.stderr


def test_a_recording_without_sound_is_shown_and_counted_but_not_played(running: Studio, tmp_path: Path) -> None:
    levels = np.full((43, 232), -120, np.float32)
    levels[:, 40] = -20
    buffer = io.BytesIO()
    np.save(buffer, levels)
    before = running.project()
    project = upload(running, buffer.getvalue(), "take.npy").json()
    (clip,) = [clip for clip in project["labels"][0]["clips"] if clip not in before["labels"][0]["clips"]]
    assert clip == {"id": "Left/take.npy", "seconds": 0.998, "examples": 41, "has_sound": False, "error": None}
    assert all(other["has_sound"] for label in before["labels"] for other in label["clips"])
    picture = running.request("GET", "/api/clips/spectrogram", params={"clip": clip["id"]})
    columns = np.frombuffer(picture.content, np.uint8).reshape(43, 232)
    assert (columns[:, 40] == 255).all()
    assert not np.delete(columns, 40, axis=1).any()
    sound = running.request("GET", "/api/clips/audio", params={"clip": clip["id"]})
    assert sound.status_code == 400
    assert sound.json() == {"error": "take.npy has no sound, only its spectrogram: choose one with sound."}

    archive = running.request("GET", "/api/export").content
    assert "Left/take.npy" in zipfile.ZipFile(io.BytesIO(archive)).namelist()
    with studio(tmp_path / "other") as other:
        answer = other.request("POST", "/api/import", content=archive).json()
        assert (answer["added"], answer["skipped"]) == (sum(len(label["clips"]) for label in project["labels"]), [])
        again = other.request("POST", "/api/import", content=archive).json()
        assert again["added"] == 0, "what is there already is skipped"

    span = {"start": 0.2, "end": 0.5}
    trimmed = running.request("PATCH", "/api/clips", params={"clip": clip["id"]}, json=span).json()
    (part,) = [clip for clip in trimmed["labels"][0]["clips"] if not clip["has_sound"]]
    assert part["seconds"] == pytest.approx(0.3, abs=0.024)
    running.request("POST", "/api/undo")
    moved = running.request("PATCH", "/api/clips", params={"clip": clip["id"]}, json={"label": "Right"}).json()
    assert [clip["id"] for clip in moved["labels"][1]["clips"] if not clip["has_sound"]] == ["Right/take.npy"]
    for _ in range(2):
        running.request("POST", "/api/undo")
    assert running.project()["labels"] == before["labels"]


def test_a_file_of_levels_that_is_none_is_told(running: Studio) -> None:
    before = running.project()
    for data in (b"", b"no levels", sound_file(WHISTLE)):
        answer = upload(running, data, "bad.npy")
        assert answer.status_code == 400
        assert answer.json()["error"] == "bad.npy is not a spectrogram that can be read: save one with numpy.save."
    assert running.project() == before
