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
from playwright.sync_api import Browser, Page, expect

import earmark
from tests import sounds
from tests.browser import chromium, microphone_arguments
from tests.studio.running import Studio, studio

Make = Callable[[float, int], sounds.Samples]
MAKERS: dict[str, Make] = {"left": sounds.whistle, "right": sounds.snaps, "noise": sounds.murmur}
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


@contextmanager
def open_page(running: Studio, recording: Path, **options: Any) -> Iterator[Page]:
    """The page with its microphone on; a message on the browser's console fails the test."""
    with chromium(*microphone_arguments(recording)) as browser:
        page, complaints = new_page(browser, running, **options)
        wait_for_microphone(page)
        yield page
        assert complaints == []


def new_page(browser: Browser, running: Studio, **options: Any) -> tuple[Page, list[str]]:
    page = browser.new_context(**options).new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto(running.address)
    return page, complaints


def wait_for_microphone(page: Page) -> None:
    """The page turns it on by itself where the browser has been told that it may."""
    expect(page.locator("#console")).to_contain_text("examples collected")
    expect(page.locator("#device")).to_be_enabled()
    expect(page.locator("#level")).to_have_attribute("aria-valuenow", re.compile("^-[1-8]?[0-9]$"))


def examples(page: Page) -> int:
    found = re.match(r"(\d+) examples? collected", page.locator("#console").inner_text())
    assert found, page.locator("#console").inner_text()
    return int(found[1])


def wait_for_saved(running: Studio, count: int) -> dict[str, Any]:
    """The project once it has that many clips."""
    for _ in range(200):
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
            expect(page.locator("#console")).to_contain_text("Epoch: 10", timeout=30_000)
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


def test_ten_seconds_of_noise_leave_the_slider_alone(codelab: Studio, takes: Callable[[str, int], Path]) -> None:
    with open_page(codelab, takes("noise", 2)) as page:
        heard = hear(page, 10)
    drift = max(abs(prediction["value"] - 5) for prediction in heard)
    print(f"noise: the slider drifts {drift:.1f} at most over {len(heard)} frames")
    assert len(heard) > 350
    assert drift < 0.5


def test_a_reload_loses_nothing(codelab: Studio, takes: Callable[[str, int], Path]) -> None:
    with open_page(codelab, takes("left", 2)) as page:
        before = examples(page)
        assert before == codelab.project()["examples"] > 400
        page.reload()
        wait_for_microphone(page)
        assert examples(page) == before
        expect(page.locator("#listen")).to_be_enabled()


@pytest.mark.parametrize(("width", "height"), [(360, 740), (390, 844), (768, 1024), (1280, 800), (1920, 1080)])
def test_nothing_overflows_from_phone_to_desktop(
    codelab: Studio, takes: Callable[[str, int], Path], width: int, height: int
) -> None:
    with chromium(*microphone_arguments(takes("noise", 2))) as browser:
        page, complaints = new_page(browser, codelab, viewport={"width": width, "height": height})
        wait_for_microphone(page)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        for button in ("left", "right", "noise", "train", "listen"):
            box = page.locator(f"#{button}").bounding_box()
            assert box is not None
            assert box["height"] >= 40
            assert 0 <= box["x"] <= width - box["width"]
        assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(codelab: Studio, takes: Callable[[str, int], Path], scheme: str) -> None:
    with open_page(codelab, takes("noise", 2), color_scheme=scheme, bypass_csp=True) as page:
        found = Axe().run(page)
    serious = [fault["id"] for fault in found.response["violations"] if fault["impact"] in ("serious", "critical")]
    assert serious == []


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Studio]:
    with studio(tmp_path / "clapper") as running:
        yield running


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


def test_the_count_rises_while_the_button_is_held(fresh: Studio, takes: Callable[[str, int], Path]) -> None:
    with open_page(fresh, takes("left", 1)) as page:
        page.locator("#left").hover()
        page.mouse.down()
        page.wait_for_timeout(1_000)
        first = examples(page)
        page.wait_for_timeout(1_000)
        second = examples(page)
        page.mouse.up()
        assert 20 <= first < second
        assert second - first == pytest.approx(43, abs=15)
        assert wait_for_saved(fresh, 1)["examples"] >= second
        expect(page.locator("#console")).to_have_text(f"{fresh.project()['examples']} examples collected")


def test_a_recording_survives_a_server_that_dies_in_the_middle_of_it(
    tmp_path: Path, takes: Callable[[str, int], Path]
) -> None:
    with (
        chromium(*microphone_arguments(takes("left", 1))) as browser,
        studio(tmp_path / "clapper") as first,
    ):
        page, _ = new_page(browser, first)
        wait_for_microphone(page)
        page.locator("#left").hover()
        page.mouse.down()
        page.wait_for_timeout(1_000)
        first.kill()
        page.wait_for_timeout(1_000)
        page.mouse.up()  # let go while nobody is there to hear it
        expect(page.locator("#banner")).to_be_visible()
        with studio(tmp_path / "clapper", first.port) as second:
            project = wait_for_saved(second, 1)
            expect(page.locator("#banner")).to_be_hidden()
            assert project["labels"][0]["clips"][0]["seconds"] == pytest.approx(2, abs=0.3)
            expect(page.locator("#console")).to_have_text(f"{project['examples']} examples collected")


def test_a_finished_recording_survives_a_reload_while_the_server_is_away(
    tmp_path: Path, takes: Callable[[str, int], Path]
) -> None:
    with (
        chromium(*microphone_arguments(takes("left", 1))) as browser,
        studio(tmp_path / "clapper") as first,
    ):
        page, _ = new_page(browser, first)
        wait_for_microphone(page)
        page.on("dialog", lambda dialog: dialog.accept())
        page.locator("#left").hover()
        page.mouse.down()
        page.wait_for_timeout(700)
        first.kill()
        page.wait_for_timeout(700)
        page.mouse.up()
        page.wait_for_timeout(300)
        page.goto("about:blank")
        with studio(tmp_path / "clapper", first.port) as second:
            page.goto(second.address)
            assert wait_for_saved(second, 1)["labels"][0]["clips"][0]["seconds"] == pytest.approx(1.4, abs=0.3)


def test_what_was_recorded_is_what_the_microphone_heard(fresh: Studio, takes: Callable[[str, int], Path]) -> None:
    """The recording, cut out of a looping file, lies in it sample for sample but for the browser's own resampling."""
    with open_page(fresh, takes("left", 1)) as page:
        hold_mouse(page, "left", 1.5)
        clip = wait_for_saved(fresh, 1)["labels"][0]["clips"][0]["id"]
        recorded = earmark.read_clip(fresh.request("GET", "/api/clips/audio", params={"clip": clip}).content)
    played = earmark.read_clip(takes("left", 1))
    ours = earmark.compute_spectrogram(recorded.samples, recorded.sample_rate)[2:40]
    theirs = earmark.compute_spectrogram(np.tile(played.samples, 2), played.sample_rate)
    # Frames of the two don't fall on the same samples: the nearest of the file's lie within a few dB where it is loud.
    loud = ours > ours.max() - 20
    distances = [np.abs(theirs[at : at + len(ours)] - ours)[loud].mean() for at in range(len(theirs) // 2)]
    assert min(distances) < 3
    assert np.median(distances) > 6


def test_a_page_without_a_microphone_says_so(fresh: Studio) -> None:
    with chromium() as browser:
        page, _ = new_page(browser, fresh)
        page.locator("#microphone-on").click()
        expect(page.locator("#microphone-text")).to_contain_text(re.compile("microphone", re.IGNORECASE))
        expect(page.locator("#microphone-text")).not_to_contain_text("listens through")


def test_a_silent_microphone_is_told(fresh: Studio, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(sounds.RATE * 5, np.float32), sounds.RATE, subtype="PCM_16")
    with chromium(*microphone_arguments(tmp_path / "silent.wav")) as browser:
        page, _ = new_page(browser, fresh)
        expect(page.locator("#silence")).not_to_be_empty(timeout=10_000)
