"""The words view in a real Chromium, with spoken words as its microphone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path

import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

import earmark
from tests import sounds
from tests.browser import browsers, microphone_arguments
from tests.studio import spoken
from tests.studio.opening import new_page, open_page, wait_for_microphone
from tests.studio.running import Studio, studio
from tests.studio.spoken import Speech

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
WORDS = [*DIGITS, "up", "down", "left", "right", "go", "stop", "yes", "no"]
SLOW = pytest.mark.slow
SIZES = [
    (390, 844),
    *(pytest.param(*size, marks=SLOW) for size in ((360, 740), (768, 1_024), (1_280, 720), (1_920, 1_080))),
]
HEARD = 180_000  # ms that a word may take: the microphone plays each once in half a minute
# What the large word has shown, also for a moment, and the highest score on a chip.
FOLLOW = """
  window.said = [], window.highest = 0;
  new MutationObserver(() => {
    const word = document.getElementById("word").textContent;
    if (word) window.said.push(word);
  }).observe(document.getElementById("word"), {childList: true});
  new MutationObserver(() => {
    for (const chip of document.querySelectorAll("#chips .chip-score"))
      window.highest = Math.max(window.highest, Number(chip.textContent));
  }).observe(document.getElementById("chips"), {childList: true, characterData: true, subtree: true});
"""


@pytest.fixture(scope="module")
def microphone(speech: Speech, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("speech") / "speech.wav"
    soundfile.write(file, speech.samples, spoken.RATE, subtype="PCM_16")
    return file


@pytest.fixture
def browser(microphone: Path) -> Iterator[Browser]:
    with browsers.borrow(*microphone_arguments(microphone)) as browser:
        yield browser


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """A studio whose project is empty."""
    with studio(tmp_path_factory.mktemp("words") / "clapper") as started:
        yield started


def open_words(browser: Browser, running: Studio, **options: object) -> tuple[Page, list[str]]:
    page, complaints = new_page(browser, running, "/#words", **options)
    wait_for_microphone(page)
    expect(page.locator("#chips .chip")).to_have_count(len(WORDS))
    return page, complaints


@pytest.fixture
def page(browser: Browser, running: Studio) -> Iterator[Page]:
    """The words view, its microphone on; a message on the browser's console fails the test."""
    page, complaints = open_words(browser, running)
    page.evaluate(FOLLOW)
    yield page
    page.context.close()
    assert complaints == []


def listen(page: Page) -> None:
    page.locator("#listen-words").click()
    expect(page.locator("#listen-words")).to_have_text("Stop")


def list_entries(page: Page) -> list[str]:
    return page.locator("#detections .heard-word").all_inner_texts()


@pytest.mark.slow
def test_spoken_words_are_shown_large_and_the_last_ten_listed(page: Page, speech: Speech) -> None:
    assert page.locator("#chips .chip span:first-child").all_inner_texts() == WORDS
    expect(page.locator("#word")).to_be_empty()
    expect(page.locator("#no-detections")).to_be_visible()
    listen(page)
    word = page.locator("#word:not(.past)")
    expect(word).to_have_text(re.compile("|".join(WORDS)), timeout=HEARD)
    assert page.locator("#word").evaluate("word => parseFloat(getComputedStyle(word).fontSize)") >= 80
    expect(page.locator("#chips .chip.on")).to_have_count(1)
    expect(page.locator("#detections li")).to_have_count(10, timeout=HEARD)
    oldest = page.locator("#detections .heard-word").last
    expect(oldest).not_to_have_text(oldest.inner_text(), timeout=HEARD)  # an eleventh word takes its place
    expect(page.locator("#detections li")).to_have_count(10)
    page.locator("#listen-words").click()
    expect(page.locator("#listen-words")).to_have_text("Listen")
    expect(page.locator("#word")).to_be_empty()

    said: list[str] = page.evaluate("window.said")
    listed = list_entries(page)
    assert listed == said[-10:][::-1], "each word that was shown is listed once, newest first"
    assert set(said) <= set(WORDS)
    blocks = SequenceMatcher(None, said, speech.words * 4, autojunk=False).get_matching_blocks()
    print(f"said {said} of {speech.words}")
    assert sum(block.size for block in blocks) >= 0.8 * len(said)
    times = page.locator("#detections time").evaluate_all("times => times.map(({dateTime}) => dateTime)")
    assert times == sorted(times, reverse=True)
    assert len(set(times)) == 10
    scores = [float(text) for text in page.locator("#detections .score").all_inner_texts()]
    assert all(0.75 <= score <= 1 for score in scores)


@pytest.mark.slow
def test_the_threshold_keeps_words_away_and_can_be_changed_while_listening(page: Page) -> None:
    slider = page.get_by_role("slider", name="Probability threshold")
    expect(slider).to_have_value("0.75")
    slider.focus()
    page.keyboard.press("End")
    expect(page.locator("#threshold-value")).to_have_text("1.00")
    listen(page)
    page.wait_for_timeout(12_000)
    assert page.evaluate("window.highest") > 0.9, "words were spoken"
    assert page.evaluate("window.said") == []
    expect(page.locator("#detections li")).to_have_count(0)
    slider.focus()
    for _ in range(30):
        page.keyboard.press("ArrowLeft")
    expect(page.locator("#threshold-value")).to_have_text("0.70")
    expect(page.locator("#word")).not_to_be_empty(timeout=HEARD)
    expect(page.locator("#detections li")).not_to_have_count(0)


@pytest.mark.slow
def test_choosing_the_other_tab_stops_listening(page: Page) -> None:
    listen(page)
    expect(page.locator("#word")).not_to_be_empty(timeout=HEARD)
    page.get_by_role("tab", name="Sounds").click()
    expect(page.locator("#words-panel")).to_be_hidden()
    expect(page.locator("#listen-words")).to_have_text("Listen")
    expect(page.locator("#word")).to_be_empty()
    listed = list_entries(page)
    page.evaluate(FOLLOW)
    page.wait_for_timeout(5_000)
    page.get_by_role("tab", name="Words").click()
    page.wait_for_timeout(1_000)
    assert page.evaluate("[window.said.length, window.highest]") == [0, 0]
    assert list_entries(page) == listed, "what was heard before can still be read"
    listen(page)
    expect(page.locator("#word")).not_to_be_empty(timeout=HEARD)


@pytest.mark.slow
def test_choosing_the_words_stops_the_projects_listening(browser: Browser, trained: earmark.Project) -> None:
    with studio(trained.path) as running:
        page, complaints = new_page(browser, running)
        wait_for_microphone(page)
        page.evaluate("document.addEventListener('earmark:prediction', () => window.predictions++)")
        page.locator("#listen").click()
        expect(page.locator("#listen")).to_have_text("Stop")
        expect(page.locator("#latency")).not_to_be_empty()
        page.get_by_role("tab", name="Words").click()
        listen(page)
        page.evaluate("window.predictions = 0")
        expect(page.locator("#word")).not_to_be_empty(timeout=HEARD)
        page.get_by_role("tab", name="Sounds").click()
        expect(page.locator("#listen")).to_have_text("Listen")
        assert page.evaluate("window.predictions") == 0
        assert page.locator("#scores li").count() == 0
        page.locator("#listen").click()
        expect(page.locator("#scores li")).to_have_count(3)
        page.context.close()
        assert complaints == []


def test_the_tabs_follow_keyboard_address_and_reload(page: Page) -> None:
    sounds_tab, words_tab = page.get_by_role("tab", name="Sounds"), page.get_by_role("tab", name="Words")

    def expect_view(view: str) -> None:
        chosen, other = (sounds_tab, words_tab) if view == "sounds" else (words_tab, sounds_tab)
        expect(chosen).to_have_attribute("aria-selected", "true")
        expect(other).to_have_attribute("aria-selected", "false")
        expect(chosen).to_have_attribute("tabindex", "0")
        expect(other).to_have_attribute("tabindex", "-1")
        expect(page.get_by_role("tabpanel")).to_have_attribute("id", f"{view}-panel")
        assert page.url.endswith(f"#{view}")

    expect_view("words")
    expect(page.locator("#toolbar")).to_be_hidden()
    words_tab.focus()
    for key, view in (("ArrowRight", "sounds"), ("ArrowLeft", "words"), ("Home", "sounds"), ("End", "words")):
        page.keyboard.press(key)
        expect_view(view)
        expect(sounds_tab if view == "sounds" else words_tab).to_be_focused()
    page.reload()
    expect_view("words")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the link that skips the header
    expect(page.locator("#words-panel")).to_be_focused()
    expect_view("words")
    page.evaluate("location.hash = '#sounds'")
    expect_view("sounds")
    expect(page.locator("#toolbar")).to_be_visible()


@pytest.mark.slow
def test_keys_that_record_do_not_where_nobody_sees_it(page: Page, running: Studio) -> None:
    page.keyboard.down("1")
    page.wait_for_timeout(700)
    page.keyboard.up("1")
    page.get_by_role("tab", name="Sounds").click()
    page.keyboard.down("1")
    expect(page.locator(".card.recording")).to_have_count(1)
    page.wait_for_timeout(700)
    page.get_by_role("tab", name="Words").click()  # which ends the recording
    page.keyboard.up("1")
    page.get_by_role("tab", name="Sounds").click()
    expect(page.locator(".card.recording")).to_have_count(0)
    expect(page.get_by_role("button", name="Play recording 1 of Left")).to_be_visible()
    assert [len(label["clips"]) for label in running.project()["labels"]] == [1, 0, 0]
    page.locator("#undo").click()
    expect(page.locator("#console")).to_have_text("0 examples collected")


@pytest.mark.slow
def test_listening_goes_on_when_the_connection_comes_back(browser: Browser, tmp_path: Path) -> None:
    with studio(tmp_path / "clapper") as first:
        page, _ = open_words(browser, first)
        listen(page)
        expect(page.locator("#detections li")).not_to_have_count(0, timeout=HEARD)
        before = page.locator("#detections li").count()
        first.kill()
        expect(page.locator("#banner")).to_be_visible()
        expect(page.locator("#word")).to_be_empty()
        expect(page.locator("#listen-words")).to_have_text("Stop")
    with studio(tmp_path / "clapper", first.port):
        expect(page.locator("#banner")).to_be_hidden()
        expect(page.locator("#word")).not_to_be_empty(timeout=HEARD)
        expect(page.locator("#detections li")).to_have_count(before + 1, timeout=HEARD)
        page.context.close()


SHOWN_BOX = """part => {
    const box = document.querySelector(part)?.getBoundingClientRect()
    return box?.width > 0 && box.toJSON()
}"""


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_words_fit_phone_and_desk(browser: Browser, running: Studio, width: int, height: int) -> None:
    page, complaints = open_words(browser, running, viewport={"width": width, "height": height})
    listen(page)
    expect(page.locator("#word:not(.past)")).not_to_be_empty(timeout=HEARD)
    for selector in ("html", "body", "#words-panel"):
        assert page.locator(selector).evaluate("node => node.scrollWidth <= node.clientWidth"), selector
    for part in ("#sounds-tab", "#words-tab", "#listen-words", "#threshold", "#word span", "#chips", "#detections"):
        # In one step, and when it is there: a word goes again after a moment.
        box = page.wait_for_function(SHOWN_BOX, arg=part, timeout=HEARD).json_value()
        assert 0 <= box["x"] <= width - box["width"], part
    for target in ("#sounds-tab", "#words-tab", "#listen-words", "#threshold"):
        box = page.locator(target).bounding_box()
        assert box is not None
        assert box["height"] >= 34
    box = page.locator("#word").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= height, "the word is on the first screen"
    page.context.close()
    assert complaints == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=SLOW)])
def test_axe_finds_no_fault(browser: Browser, running: Studio, scheme: str) -> None:
    page, complaints = open_words(browser, running, color_scheme=scheme, bypass_csp=True)
    quiet = Axe().run(page).response["violations"]
    listen(page)
    expect(page.locator("#word:not(.past)")).not_to_be_empty(timeout=HEARD)
    speaking = Axe().run(page).response["violations"]
    page.context.close()
    assert [fault["id"] for fault in quiet + speaking] == []
    assert complaints == []


@pytest.mark.slow
def test_without_a_microphone_the_page_says_so(running: Studio) -> None:
    with browsers.borrow() as browser:
        page, _ = new_page(browser, running, "/#words")
        expect(page.locator("#chips .chip")).to_have_count(len(WORDS))
        page.locator("#listen-words").click()
        expect(page.locator("#microphone-text")).to_contain_text(re.compile("microphone", re.IGNORECASE))
        expect(page.locator("#microphone-text")).not_to_contain_text("listens through")


@pytest.mark.slow
def test_noise_is_no_word(running: Studio, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "room.wav", sounds.room(5.0, 1), sounds.RATE, subtype="PCM_16")
    with open_page(running, tmp_path / "room.wav") as page:
        page.get_by_role("tab", name="Words").click()
        page.evaluate(FOLLOW)
        listen(page)
        page.wait_for_timeout(6_000)
        assert page.evaluate("window.said") == []
        expect(page.locator("#no-detections")).to_be_visible()
