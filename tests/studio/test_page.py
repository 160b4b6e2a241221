"""The page in a real Chromium, with sound files as its microphone: the codelab from the first press to the slider."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

import earmark
from tests import sounds
from tests.browser import browsers, device_rate, microphone_arguments
from tests.studio.opening import new_page, open_page, wait_for_microphone
from tests.studio.running import Studio, studio

Make = Callable[[float, int], sounds.Samples]
MAKERS: dict[str, Make] = {"left": sounds.whistle, "right": sounds.snaps, "noise": sounds.murmur}
SLOW = pytest.mark.slow
SIZES = [
    (390, 844),
    *(pytest.param(*size, marks=SLOW) for size in ((360, 740), (768, 1024), (1280, 800), (1920, 1080))),
]
FOLLOW = "window.heard = []; document.addEventListener('earmark:prediction', ({detail}) => window.heard.push(detail))"


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    """A WAV file of a take of one of the three sounds, 12 s long; another number is another take."""
    folder = tmp_path_factory.mktemp("takes")

    def take(sound: str, number: int) -> Path:
        file = folder / f"{sound}-{number}.wav"
        if not file.exists():
            soundfile.write(file, MAKERS[sound](12.0, number), sounds.RATE, subtype="PCM_16")
        return file

    return take


def examples(page: Page) -> int:
    found = re.match(r"(\d+) examples? collected", page.locator("#console").inner_text())
    assert found, page.locator("#console").inner_text()
    return int(found[1])


def wait_for_saved(running: Studio, count: int) -> dict[str, Any]:
    """The project once it has that many clips."""
    for _ in range(1_200):
        project = running.project()
        if sum(len(label["clips"]) for label in project["labels"]) >= count:
            return project
        time.sleep(0.05)
    raise AssertionError(f"no {count} clips: {project['labels']}")


def hold_mouse(page: Page, button: str, seconds: float) -> None:
    page.locator(f"#{button}").hover()
    page.mouse.down()
    page.wait_for_timeout(seconds * 1000)
    page.mouse.up()


def hold_key(page: Page, key: str, seconds: float) -> None:
    page.keyboard.down(key)
    page.wait_for_timeout(seconds * 1000)
    page.keyboard.up(key)


def hold_touch(page: Page, button: str, seconds: float) -> None:
    page.locator(f"#{button}").scroll_into_view_if_needed()
    box = page.locator(f"#{button}").bounding_box()
    assert box is not None
    devtools = page.context.new_cdp_session(page)
    point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    devtools.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
    page.wait_for_timeout(seconds * 1000)
    devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def hear(page: Page, seconds: float) -> list[dict[str, Any]]:
    """Listen for a while; returns what the page dispatched for each prediction."""
    page.evaluate(FOLLOW)
    page.locator("#listen").click()
    expect(page.locator("#listen")).to_have_text("Stop")
    page.wait_for_timeout(500)
    page.wait_for_timeout(seconds * 1000)
    page.locator("#listen").click()
    expect(page.locator("#listen")).to_have_text("Listen")
    return page.evaluate("window.heard")  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def codelab(tmp_path_factory: pytest.TempPathFactory, takes: Callable[[str, int], Path]) -> Iterator[Studio]:
    """A studio in which the codelab has been done up to the training, by mouse, key and touch."""
    with studio(tmp_path_factory.mktemp("page") / "clapper") as running:
        with open_page(running, takes("left", 1)) as page:
            hold_mouse(page, "left", 4)
            wait_for_saved(running, 1)
        with open_page(running, takes("right", 1)) as page:
            hold_key(page, "2", 4)
            wait_for_saved(running, 2)
        phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
        with open_page(running, takes("noise", 1), **phone) as page:
            hold_touch(page, "noise", 4)
            project = wait_for_saved(running, 3)
            expect(page.locator("#console")).to_have_text(f"{project['examples']} examples collected")
            page.locator("#train").click()
            expect(page.locator("#console")).to_contain_text("Epoch: 10")
            said = re.fullmatch(r"Accuracy: ([\d.]+)% Epoch: 10", page.locator("#console").inner_text())
            assert said, page.locator("#console").inner_text()
            assert float(said[1]) > 90
            expect(page.locator("#listen")).to_be_enabled()
        yield running


def test_each_hold_became_a_recording_with_43_examples_a_second(codelab: Studio) -> None:
    for label in codelab.project()["labels"]:
        (clip,) = label["clips"]
        assert clip["seconds"] == pytest.approx(4, abs=0.5)
        assert clip["examples"] == pytest.approx(clip["seconds"] * 44_100 / 1_024, abs=5)


@pytest.mark.slow
@pytest.mark.parametrize(("sound", "end"), [("left", 0.0), ("right", 10.0)])
def test_another_take_moves_the_slider_its_way(
    codelab: Studio, takes: Callable[[str, int], Path], sound: str, end: float
) -> None:
    with open_page(codelab, takes(sound, 2)) as page:
        heard = hear(page, 5)
        assert float(page.locator("#output").input_value()) == end
    steps = np.diff([5.0] + [prediction["value"] for prediction in heard])
    moving = steps[: 1 + int(np.argmax([prediction["value"] == end for prediction in heard]))]
    right_way = np.mean([prediction["label"].lower() == sound for prediction in heard])
    print(f"{sound}: {right_way:.1%} of {len(heard)} frames the right way")
    assert len(heard) > 150
    assert right_way >= 0.9
    assert np.mean(np.sign(moving) == (-1 if sound == "left" else 1)) >= 0.9
    assert np.allclose(np.abs(moving)[moving != 0], 0.1)


@pytest.mark.slow
def test_ten_seconds_of_noise_leave_the_slider_alone(codelab: Studio, takes: Callable[[str, int], Path]) -> None:
    with open_page(codelab, takes("noise", 2)) as page:
        heard = hear(page, 10)
    drift = max(abs(prediction["value"] - 5) for prediction in heard)
    print(f"noise: the slider drifts {drift:.1f} at most over {len(heard)} frames")
    assert len(heard) > 350
    assert drift < 0.5


@pytest.mark.slow
def test_a_reload_loses_nothing(codelab: Studio, takes: Callable[[str, int], Path]) -> None:
    with open_page(codelab, takes("left", 2)) as page:
        before = examples(page)
        assert before == codelab.project()["examples"] > 400
        page.reload()
        wait_for_microphone(page)
        assert examples(page) == before
        expect(page.locator("#listen")).to_be_enabled()


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_nothing_overflows_from_phone_to_desktop(
    codelab: Studio, takes: Callable[[str, int], Path], width: int, height: int
) -> None:
    with browsers.borrow(*microphone_arguments(takes("noise", 2))) as browser:
        page, complaints = new_page(browser, codelab, viewport={"width": width, "height": height})
        wait_for_microphone(page)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        for button in ("left", "right", "noise", "train", "listen"):
            box = page.locator(f"#{button}").bounding_box()
            assert box is not None
            assert box["height"] >= 40
            assert 0 <= box["x"] <= width - box["width"]
        assert complaints == []


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=SLOW)])
def test_axe_finds_no_serious_fault(codelab: Studio, takes: Callable[[str, int], Path], scheme: str) -> None:
    with open_page(codelab, takes("noise", 2), color_scheme=scheme, bypass_csp=True) as page:
        found = Axe().run(page)
    serious = [fault["id"] for fault in found.response["violations"] if fault["impact"] in ("serious", "critical")]
    assert serious == []


def choose(page: Page, menu: str, item: str) -> None:
    """Choose an item of the menu that a button opens."""
    page.get_by_role("button", name=menu, exact=True).click()
    page.get_by_role("menuitem", name=item, exact=True).click()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Studio]:
    with studio(tmp_path / "clapper") as running:
        yield running


@pytest.mark.slow
def test_the_keyboard_alone_records_and_takes_back(fresh: Studio, takes: Callable[[str, int], Path]) -> None:
    with open_page(fresh, takes("left", 1)) as page:
        page.locator("#right").focus()
        hold_key(page, "Space", 1)
        assert len(wait_for_saved(fresh, 1)["labels"][1]["clips"]) == 1
        hold_key(page, "3", 1)
        assert len(wait_for_saved(fresh, 2)["labels"][2]["clips"]) == 1
        page.keyboard.down("1")
        page.wait_for_timeout(500)
        page.keyboard.press("Escape")
        page.keyboard.up("1")
        page.keyboard.press("Control+z")
        page.keyboard.press("Control+z")
        expect(page.locator("#console")).to_have_text("0 examples collected")
        assert fresh.project()["examples"] == 0


@pytest.mark.slow
def test_the_count_rises_while_the_button_is_held(fresh: Studio, takes: Callable[[str, int], Path]) -> None:
    def wait_for_more(than: int) -> int:
        for _ in range(600):
            if (count := examples(page)) > than:
                return count
            page.wait_for_timeout(50)
        raise AssertionError(f"no more than {than}")

    with open_page(fresh, takes("left", 1)) as page:
        page.locator("#left").hover()
        page.mouse.down()
        last = wait_for_more(wait_for_more(wait_for_more(20)))
        page.mouse.up()
        project = wait_for_saved(fresh, 1)
        assert project["examples"] >= last
        seconds = project["labels"][0]["clips"][0]["seconds"]
        assert project["examples"] == pytest.approx(43 * seconds, abs=5)
        expect(page.locator("#console")).to_have_text(f"{project['examples']} examples collected")


@contextmanager
def lost_server(project: Path, recording: Path) -> Iterator[tuple[Page, int, float]]:
    """A page that has made a recording of two seconds or so, in the middle of which its server died.

    With it the server's port, and the seconds from before the press until after its end.
    """
    with browsers.borrow(*microphone_arguments(recording)) as browser, studio(project) as running:
        page, _ = new_page(browser, running)
        page.on("dialog", lambda dialog: dialog.accept())
        wait_for_microphone(page)
        page.locator("#left").hover()
        begun = time.monotonic()
        page.mouse.down()
        page.wait_for_timeout(1_000)
        running.kill()
        page.wait_for_timeout(1_000)
        page.mouse.up()  # let go while nobody is there to hear it
        held = time.monotonic() - begun
        expect(page.locator("#banner")).to_be_visible()
        yield page, running.port, held


@pytest.mark.slow
def test_a_recording_survives_a_server_that_dies_in_the_middle_of_it(
    tmp_path: Path, takes: Callable[[str, int], Path]
) -> None:
    with (
        lost_server(tmp_path / "clapper", takes("left", 1)) as (page, port, held),
        studio(tmp_path / "clapper", port) as again,
    ):
        project = wait_for_saved(again, 1)
        expect(page.locator("#banner")).to_be_hidden()
        assert 1.7 <= project["labels"][0]["clips"][0]["seconds"] <= held + 0.3
        expect(page.locator("#console")).to_have_text(f"{project['examples']} examples collected")


@pytest.mark.slow
def test_a_finished_recording_survives_a_reload_while_the_server_is_away(
    tmp_path: Path, takes: Callable[[str, int], Path]
) -> None:
    with lost_server(tmp_path / "clapper", takes("left", 1)) as (page, port, _):
        page.wait_for_timeout(300)
        page.goto("about:blank")
        with studio(tmp_path / "clapper", port) as again:
            page.goto(again.address)
            assert wait_for_saved(again, 1)["labels"][0]["clips"][0]["seconds"] == pytest.approx(2, abs=0.3)


@pytest.mark.slow
def test_a_recording_waits_for_its_own_project(tmp_path: Path, takes: Callable[[str, int], Path]) -> None:
    """Another project, of the same name, is served at the address: it doesn't get what was recorded for the first."""
    with lost_server(tmp_path / "clapper", takes("left", 1)) as (page, port, _):
        with studio(tmp_path / "other" / "clapper", port) as other:
            expect(page.locator("#banner")).to_be_hidden()
            page.wait_for_timeout(1_000)
            assert other.project()["examples"] == 0
        with studio(tmp_path / "clapper", port) as again:
            assert wait_for_saved(again, 1)["labels"][0]["clips"][0]["seconds"] == pytest.approx(2, abs=0.3)


@pytest.mark.slow
def test_a_recording_that_can_not_be_saved_is_offered_again_and_as_a_file(
    fresh: Studio, takes: Callable[[str, int], Path], tmp_path: Path
) -> None:
    """A file lies where the clips' folder should be; closing the notice, or the page, throws nothing away."""
    with open_page(fresh, takes("left", 1)) as page:
        page.on("dialog", lambda dialog: dialog.accept())
        clips = block_clips(tmp_path / "clapper")
        hold_mouse(page, "left", 1)
        notice = page.locator(".notice", has_text="there is a file where a folder should be")
        with page.expect_download() as downloaded:
            notice.get_by_role("button", name="Download").click()
        file = tmp_path / "recording.wav"
        downloaded.value.save_as(file)
        notice.get_by_role("button", name="Close").click()
        page.reload()
        wait_for_microphone(page)
        expect(notice).to_have_count(1)
        clips.unlink()
        notice.get_by_role("button", name="Try again").click()
        clip = wait_for_saved(fresh, 1)["labels"][0]["clips"][0]
        expect(notice).to_have_count(0)
        saved = fresh.request("GET", "/api/clips/audio", params={"clip": clip["id"]}).content
        kept, sent = earmark.read_clip(saved), earmark.read_clip(file)
        assert (len(kept.samples), kept.sample_rate) == (len(sent.samples), sent.sample_rate)
        assert np.abs(kept.samples - sent.samples).max() < 2**-14  # the WAV for the browser has 16 bits
        page.reload()
        wait_for_microphone(page)
        assert len(wait_for_saved(fresh, 1)["labels"][0]["clips"]) == 1


@pytest.mark.slow
def test_a_recording_that_can_not_be_saved_may_be_deleted(
    fresh: Studio, takes: Callable[[str, int], Path], tmp_path: Path
) -> None:
    with open_page(fresh, takes("left", 1)) as page:
        clips = block_clips(tmp_path / "clapper")
        hold_mouse(page, "left", 1)
        page.locator(".notice").get_by_role("button", name="Delete").click()
        clips.unlink()
        page.reload()
        wait_for_microphone(page)
        page.wait_for_timeout(1_000)
        assert fresh.project()["examples"] == 0


@pytest.mark.slow
def test_recordings_that_can_not_be_saved_share_a_notice(
    fresh: Studio, takes: Callable[[str, int], Path], tmp_path: Path
) -> None:
    with open_page(fresh, takes("left", 1), viewport={"width": 390, "height": 844}) as page:
        clips = block_clips(tmp_path / "clapper")
        hold_mouse(page, "left", 0.5)
        first = page.locator(".notice.error").get_by_role("button", name="Try again").element_handle()
        for _ in range(2):
            hold_mouse(page, "left", 0.5)
        notice = page.locator(".notice", has_text="3 recordings can't be saved:")
        expect(notice).to_have_count(1)
        assert first.evaluate("node => node.isConnected"), "somebody may be about to press it"
        expect(notice.get_by_role("listitem")).to_have_count(3)
        files: list[str] = []
        page.on("download", lambda download: files.append(download.suggested_filename))
        with page.expect_event("download", lambda _: len(files) == 3):
            notice.get_by_role("button", name="Download").click()
        assert sorted(files) == ["recording-2.wav", "recording-3.wav", "recording.wav"]
        clips.unlink()
        notice.get_by_role("button", name="Try again").click()
        assert len(wait_for_saved(fresh, 3)["labels"][0]["clips"]) == 3
        expect(page.locator(".notice.error")).to_have_count(0)


@pytest.mark.slow
def test_a_browser_that_can_not_keep_recordings_says_so_while_they_wait(
    tmp_path: Path, takes: Callable[[str, int], Path]
) -> None:
    with browsers.borrow(*microphone_arguments(takes("left", 1))) as browser, studio(tmp_path / "clapper") as running:
        page = browser.new_page()
        page.add_init_script(
            "IDBObjectStore.prototype.put = () => { throw new DOMException('', 'QuotaExceededError') }"
        )
        page.goto(running.address)
        wait_for_microphone(page)
        running.kill()
        expect(page.locator("#banner")).to_be_visible()
        hold_mouse(page, "left", 1)
        expect(page.locator("#banner")).to_contain_text(
            "1 recording waits. This browser can't keep them: leave the page"
        )
        with studio(tmp_path / "clapper", running.port) as again:
            wait_for_saved(again, 1)


def block_clips(project: Path) -> Path:
    """Have no recording saved until the file that is returned goes."""
    clips = project / "clips"
    clips.rmdir()
    clips.touch()
    return clips


def test_recordings_are_added_played_trimmed_moved_deleted_and_brought_back(
    fresh: Studio, takes: Callable[[str, int], Path]
) -> None:
    with open_page(fresh, takes("noise", 1)) as page:
        with page.expect_file_chooser() as chooser:
            choose(page, "More for Left", "Add sound files…")
        chooser.value.set_files(takes("left", 1))
        expect(page.locator("#console")).to_have_text("513 examples collected")  # 12 s are 516 hops; a window takes 4
        play = page.get_by_role("button", name="Play recording 1 of Left")
        play.click()
        expect(play).to_have_class(re.compile("playing"))
        choose(page, "Trim or move recording 1 of Left", "Trim…")
        page.locator("#trimmer input[name=start]").fill("1")
        page.locator("#trimmer input[name=end]").fill("3")
        page.locator("#trimmer button[name=save]").click()
        expect(page.locator("#console")).to_have_text("83 examples collected")  # 2 s are 86 hops
        choose(page, "Trim or move recording 1 of Left", "Move to Right")
        expect(page.get_by_role("button", name="Play recording 1 of Right")).to_be_visible()
        page.get_by_role("button", name="Delete recording 1 of Right").click()
        expect(page.locator("#console")).to_have_text("0 examples collected")
        page.locator(".notice").get_by_role("button", name="Undo").last.click()
        expect(page.locator("#console")).to_have_text("83 examples collected")
        for _ in range(2):
            page.locator("#undo").click()
        expect(page.locator("#console")).to_have_text("513 examples collected")
    assert [len(label["clips"]) for label in fresh.project()["labels"]] == [1, 0, 0]


def test_classes_are_added_renamed_moved_and_removed(fresh: Studio, takes: Callable[[str, int], Path]) -> None:
    def names() -> list[str]:
        return [label["name"] for label in fresh.project()["labels"]]

    with open_page(fresh, takes("noise", 1)) as page:
        page.locator("#add-class").click()
        expect(page.get_by_label("Name of class 4")).to_be_focused()
        page.keyboard.type("AC/DC 🎸")
        page.keyboard.press("Enter")
        expect(page.get_by_label("Name of class 4")).to_have_value("AC/DC 🎸")
        choose(page, "More for AC/DC 🎸", "Move to the left")
        expect(page.get_by_label("Name of class 3")).to_have_value("AC/DC 🎸")
        expect(page.locator("#noise")).to_have_accessible_name(re.compile("AC/DC"))
        assert names() == ["Left", "Right", "AC/DC 🎸", "Noise"]
        page.get_by_label("Name of class 1").fill("right")
        page.keyboard.press("Enter")
        expect(page.locator(".notice.error")).to_contain_text("already: choose another name")
        expect(page.get_by_label("Name of class 1")).to_have_value("Left")
        choose(page, "More for Right", "Remove class")
        expect(page.get_by_label("Name of class 2")).to_have_value("AC/DC 🎸")
        assert names() == ["Left", "AC/DC 🎸", "Noise"]


@pytest.mark.slow
def test_recordings_are_downloaded_and_loaded_and_a_bad_file_is_told(
    codelab: Studio, fresh: Studio, takes: Callable[[str, int], Path], tmp_path: Path
) -> None:
    with open_page(codelab, takes("noise", 1)) as page:
        with page.expect_download() as download:
            page.locator("#download").click()
        download.value.save_as(tmp_path / "recordings.zip")
    with open_page(fresh, takes("noise", 1)) as page:
        with page.expect_file_chooser() as chooser:
            page.locator("#load").click()
        chooser.value.set_files(tmp_path / "recordings.zip")
        expect(page.locator("#console")).to_have_text(f"{codelab.project()['examples']} examples collected")
        (tmp_path / "notes.zip").write_text("no zip")
        with page.expect_file_chooser() as chooser:
            page.locator("#load").click()
        chooser.value.set_files(tmp_path / "notes.zip")
        expect(page.locator(".notice.error")).to_contain_text("not a zip that can be read")
    assert len(wait_for_saved(fresh, 3)["labels"]) == 3


@pytest.mark.slow
def test_the_training_is_drawn_and_can_be_cancelled(tmp_path: Path, takes: Callable[[str, int], Path]) -> None:
    project = earmark.Project(tmp_path / "clapper", create=True)
    for label, make in (("Left", sounds.whistle), ("Right", sounds.snaps)):
        project.add(label, make(120.0, 1), sounds.RATE)  # its epochs take far longer than a look at the button
    with studio(project.path) as running, open_page(running, takes("noise", 1)) as page:
        page.locator("#train").click()
        expect(page.locator("#train")).to_have_text("Cancel")
        expect(page.locator("#console")).to_contain_text("Epoch: 1")
        page.locator("#train").click()
        expect(page.locator("#train")).to_have_text("Train")
        expect(page.locator("#listen")).to_be_disabled()
        for label in running.project()["labels"]:  # a training that is awaited need not last as long
            running.request(
                "PATCH", "/api/clips", params={"clip": label["clips"][0]["id"]}, json={"start": 0, "end": 4}
            )
        page.locator("#train").click()
        expect(page.locator("#console")).to_contain_text("Epoch: 10")
        expect(page.locator("#curve")).to_be_visible()
        expect(page.locator("#curve svg")).to_have_count(1)
        expect(page.locator("#listen")).to_be_enabled()


@pytest.mark.slow
@pytest.mark.parametrize("rate", [pytest.param(44_100, marks=SLOW), 48_000, pytest.param(16_000, marks=SLOW)])
def test_what_was_recorded_is_what_the_microphone_heard(
    fresh: Studio, takes: Callable[[str, int], Path], rate: int
) -> None:
    """The recording, cut out of a looping file, looks like a part of it, at whatever rate the device runs."""
    with browsers.borrow(*microphone_arguments(takes("left", 1))) as browser:
        context = browser.new_context()
        context.add_init_script(device_rate(rate))
        page = context.new_page()
        page.goto(fresh.address)
        wait_for_microphone(page)
        hold_mouse(page, "left", 1.5)
        clip = wait_for_saved(fresh, 1)["labels"][0]["clips"][0]["id"]
        recorded = earmark.read_clip(fresh.request("GET", "/api/clips/audio", params={"clip": clip}).content)
    assert recorded.sample_rate == rate
    played = earmark.read_clip(takes("left", 1))
    ours = earmark.compute_spectrogram(recorded.samples, recorded.sample_rate)[2:40]
    theirs = earmark.compute_spectrogram(np.tile(played.samples, 2), played.sample_rate)
    # Frames of the two don't fall on the same samples: the nearest of the file's lie within a few dB where it is loud.
    loud = ours > ours.max() - 20
    distances = [np.abs(theirs[at : at + len(ours)] - ours)[loud].mean() for at in range(len(theirs) // 2)]
    assert min(distances) < 3
    assert np.median(distances) > 6


@pytest.mark.slow
def test_a_page_without_a_microphone_says_so(fresh: Studio) -> None:
    with browsers.borrow() as browser:
        page, _ = new_page(browser, fresh)
        page.locator("#microphone-on").click()
        expect(page.locator("#microphone-text")).to_contain_text(re.compile("microphone", re.IGNORECASE))
        expect(page.locator("#microphone-text")).not_to_contain_text("listens through")


@pytest.mark.slow
def test_a_silent_microphone_is_told(fresh: Studio, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(sounds.RATE * 5, np.float32), sounds.RATE, subtype="PCM_16")
    with browsers.borrow(*microphone_arguments(tmp_path / "silent.wav")) as browser:
        page, _ = new_page(browser, fresh)
        expect(page.locator("#silence")).not_to_be_empty()
