"""Files that are dropped onto the page or chosen, in a real Chromium."""

from __future__ import annotations

import base64
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

import earmark
from tests import sounds
from tests.conftest import SHARED
from tests.studio.opening import open_page
from tests.studio.running import Studio, studio

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
MODEL = b'{"modelTopology": {"class_name": "Sequential"}, "weightsManifest": []}'


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Studio]:
    project = earmark.Project(tmp_path / "sounds", create=True, labels=("Left", "Right", "Noise"))
    with studio(project.path) as started:
        yield started


@pytest.fixture
def fixtures() -> Path:
    folder = SHARED / "fixtures" / "tfjs_speech_commands"
    if not folder.is_dir():
        pytest.skip("needs the files in ../shared/fixtures")
    return folder


def wav(take: int = 1) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, sounds.whistle(1.0, take), sounds.RATE, format="WAV")
    return buffer.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def drop(page: Page, place: str, files: dict[str, bytes]) -> None:
    """Drop files onto a part of the page."""
    data = page.evaluate_handle(
        """files => {
          const data = new DataTransfer();
          for (const [name, content] of files)
            data.items.add(new File([Uint8Array.from(atob(content), letter => letter.charCodeAt(0))], name));
          return data;
        }""",
        [[name, base64.b64encode(content).decode()] for name, content in files.items()],
    )
    page.locator(place).dispatch_event("drop", {"dataTransfer": data})


def clips(running: Studio) -> dict[str, int]:
    return {label["name"]: len(label["clips"]) for label in running.project()["labels"]}


@pytest.mark.slow
def test_a_sound_file_dropped_onto_a_class_is_added(running: Studio, microphone: Path) -> None:
    with open_page(running, microphone) as page:
        drop(page, "#right", {"whistle.wav": wav()})
        expect(page.get_by_role("button", name="Play recording 1 of Right")).to_be_visible()
        expect(page.locator(".notice").last).to_have_text("1 recording added.")
    assert [clip["seconds"] for clip in running.project()["labels"][1]["clips"]] == [1]


@pytest.mark.slow
def test_a_recording_of_a_browser_or_a_phone_dropped_onto_a_class_is_added(
    running: Studio, microphone: Path, tmp_path: Path
) -> None:
    av = pytest.importorskip("av")
    for name, codec in (("voice.webm", "libopus"), ("memo.m4a", "aac")):
        with av.open(str(tmp_path / name), "w") as file:
            stream = file.add_stream(codec, rate=48_000, layout="mono")
            frame = av.AudioFrame.from_ndarray(sounds.whistle(2.0, 1)[np.newaxis], format="flt", layout="mono")
            frame.sample_rate = sounds.RATE
            file.mux([*stream.encode(frame), *stream.encode(None)])
    with open_page(running, microphone) as page:
        drop(page, "#left", {name: (tmp_path / name).read_bytes() for name in ("voice.webm", "memo.m4a")})
        expect(page.locator(".notice").last).to_have_text("2 recordings added.")
        drop(page, "#left", {"cut.webm": (tmp_path / "voice.webm").read_bytes()[:200]})
        expect(page.locator(".notice.error")).to_contain_text("cut.webm ")
    lengths = [clip["seconds"] for clip in running.project()["labels"][0]["clips"]]
    assert lengths == pytest.approx([2, 2], abs=0.1)


@pytest.mark.slow
def test_samples_of_teachable_machine_are_dropped_onto_the_page(
    running: Studio, microphone: Path, fixtures: Path
) -> None:
    pytest.importorskip("av")
    content = (fixtures / "teachable_machine_class.zip").read_bytes()
    with open_page(running, microphone) as page:
        drop(page, "body", {"Clap-samples.zip": content})
        expect(page.locator(".notice").last).to_have_text("10 recordings added.")
        expect(page.get_by_label("Name of class 4")).to_have_value("Clap")
        expect(page.get_by_role("button", name=re.compile("Play recording [0-9]+ of Clap"))).to_have_count(10)
        drop(page, "body", {"Clap-samples.zip": content})
        expect(page.locator(".notice").last).to_have_text("10 recordings were here already.")
        page.locator("#undo").click()
        expect(page.locator("#console")).to_have_text("0 examples collected")
        drop(page, "#right", {"samples.zip": content})  # whose name tells no class: the card does
        expect(page.get_by_role("button", name=re.compile("Play recording [0-9]+ of Right"))).to_have_count(10)
    assert clips(running) == {"Left": 0, "Right": 10, "Noise": 0, "Clap": 0}


def test_a_set_of_examples_is_dropped_onto_the_page(running: Studio, microphone: Path, fixtures: Path) -> None:
    with open_page(running, microphone, bypass_csp=True) as page:
        drop(page, "body", {"examples.bin": (fixtures / "examples.bin").read_bytes()})
        expect(page.locator(".notice p").last).to_have_text("30 recordings added.")
        expect(page.locator(".notice li").last).to_contain_text("30 recordings have a spectrogram and no sound")
        expect(page.get_by_label("Name of class 5")).to_have_value("上一张")
        assert [fault["id"] for fault in Axe().run(page).response["violations"]] == []
    counts = clips(running)
    assert sum(counts.values()) == 30
    assert {"上一张", "下一张", "_background_noise_"} < set(counts)


@pytest.mark.slow
def test_what_is_new_what_is_known_and_what_is_skipped_are_told_apart(running: Studio, microphone: Path) -> None:
    with open_page(running, microphone) as page:
        drop(page, "body", {"one.zip": zipped({"Left/1.wav": wav(1)})})
        expect(page.locator(".notice").last).to_have_text("1 recording added.")
        more = {
            "Left/1.wav": wav(1),
            "Left/2.wav": wav(2),
            "Left/read me.txt": b"of last summer",
            "Right/3.wav": wav(3),
        }
        drop(page, "#noise", {"more.zip": zipped(more)})
        expect(page.locator(".notice p").last).to_have_text("2 recordings added, 1 was here already, 1 file skipped:")
        details = page.locator(".notice").last.locator("li")
        expect(details.first).to_have_text("Left/read me.txt is not a sound file: use WAV, FLAC, OGG or MP3.")
        expect(details.last).to_have_text("The recordings keep the labels that they came with.")
        del more["Left/read me.txt"]
        drop(page, "body", {"more.zip": zipped(more)})
        expect(page.locator(".notice").last).to_have_text("3 recordings were here already.")
    assert clips(running) == {"Left": 2, "Right": 1, "Noise": 0}


@pytest.mark.slow
def test_a_file_that_is_mostly_silence_is_added_and_told(running: Studio, microphone: Path) -> None:
    sound = sounds.room(3, 1)
    sound[48_000:67_200] += sounds.whistle(0.4, 2)
    buffer = io.BytesIO()
    soundfile.write(buffer, sound, sounds.RATE, format="WAV")
    with open_page(running, microphone) as page:
        drop(page, "#left", {"beep.wav": buffer.getvalue()})
        expect(page.locator(".notice p").last).to_have_text("1 recording added.")
        expect(page.locator(".notice li").last).to_contain_text(
            "beep.wav — The recording is mostly silence: only 0.5 of"
        )
    assert clips(running) == {"Left": 1, "Right": 0, "Noise": 0}


WRONG = {
    "photo.png": (PNG, "photo.png can't be imported: choose label folders"),
    "empty.zip": (zipped({}), "empty.zip holds no recordings: choose label folders"),
    "no.zip": (b"PK\3\4, or so", "no.zip is not a zip that can be read"),
    "manual.pdf": (b"%PDF-1.4\n%%EOF", "manual.pdf can't be imported"),
    "model.json": (MODEL, "model.json is a model, not recordings: listen with earmark listen model.json"),
    "weights.bin": (bytes(64), "weights.bin is a part of a model, not a recording"),
    "my model.zip": (
        zipped({"model.json": MODEL, "metadata.json": b"{}", "weights.bin": bytes(64)}),
        "earmark train PROJECT --base 'my model.zip'.",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("place", ["body", pytest.param("#right", marks=pytest.mark.slow)])
def test_what_holds_no_recordings_is_told_wherever_it_is_dropped(running: Studio, microphone: Path, place: str) -> None:
    with open_page(running, microphone) as page:
        for name, (content, told) in WRONG.items():
            drop(page, place, {name: content})
            expect(page.locator(".notice.error").last).to_contain_text(told)
    assert clips(running) == {"Left": 0, "Right": 0, "Noise": 0}


@pytest.mark.slow
def test_of_what_is_dropped_beside_the_classes_sets_are_imported_and_sounds_are_not(
    running: Studio, microphone: Path
) -> None:
    with open_page(running, microphone) as page:
        drop(page, "body", {"whistle.wav": wav(1), "set.zip": zipped({"Right/2.wav": wav(2)})})
        expect(page.locator(".notice").first).to_contain_text("Drop sound files on a class.")
        expect(page.locator(".notice").last).to_have_text("1 recording added.")
    assert clips(running) == {"Left": 0, "Right": 1, "Noise": 0}


@pytest.mark.slow
def test_a_dragged_folder_is_invited_like_a_file_but_told_to_be_one(
    running: Studio, microphone: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "claps"
    folder.mkdir()
    (folder / "1.wav").write_bytes(wav())
    with open_page(running, microphone) as page:
        devtools = page.context.new_cdp_session(page)

        def drag(place: str, *kinds: str) -> None:
            box = page.locator(place).bounding_box()
            assert box is not None
            data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
            at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
            for kind in kinds:
                devtools.send("Input.dispatchDragEvent", {"type": kind, **at, "data": data})

        drag("#scope", "dragEnter", "dragOver")
        expect(page.locator("body.receiving")).to_have_count(1)
        page.locator("body").dispatch_event("dragleave")  # as when it leaves the window: it goes to no other element
        expect(page.locator("body.receiving")).to_have_count(0)
        for place in ("#scope", "#right"):
            drag(place, "dragEnter", "dragOver", "drop")
            expect(page.locator(".notice.error").last).to_have_text("claps is a folder: make it a zip, and drop that.")
            page.locator(".notice.error").get_by_role("button", name="Close").click()
            expect(page.locator("body.receiving, .card.target")).to_have_count(0)


@pytest.mark.slow
def test_several_sets_can_be_chosen_at_once(running: Studio, microphone: Path, tmp_path: Path) -> None:
    for take, label in ((1, "Left"), (2, "Right")):
        (tmp_path / f"{label}.zip").write_bytes(zipped({f"{label}/{take}.wav": wav(take)}))
    with open_page(running, microphone) as page:
        with page.expect_file_chooser() as chooser:
            page.locator("#load").click()
        chooser.value.set_files([tmp_path / "Left.zip", tmp_path / "Right.zip"])
        expect(page.get_by_role("button", name="Play recording 1 of Left")).to_be_visible()
        expect(page.get_by_role("button", name="Play recording 1 of Right")).to_be_visible()
    assert clips(running) == {"Left": 1, "Right": 1, "Noise": 0}
