"""What a person presses while an answer, a message or the microphone is on its way is neither undone nor lost.

Answers are held back on their way and let go when a test says so: what happens by chance on a slow machine happens
each time here.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

import earmark
from tests import sounds
from tests.browser import browsers, microphone_arguments
from tests.studio.opening import new_page, open_page
from tests.studio.running import Studio, studio

pytestmark = pytest.mark.slow

# The microphone waits until `letIn` is called, for each time that it is asked for.
SLOW_MICROPHONE = """
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    await new Promise((resolve) => { window.letIn = resolve; });
    return window.stream = await open(wanted);
  };
"""
MARK = """() => {
  window.before = [...document.querySelectorAll('button, input, select, a[href], [tabindex], summary')];
}"""
GONE = """() => window.before.filter((node) => !node.isConnected).map((node) => node.outerHTML.slice(0, 120))"""


class Held:
    """Answers to the requests of a kind, each as the server gave it at its time, that don't reach the page yet."""

    def __init__(self, page: Page, address: str, method: str, *, before: bool = False) -> None:
        self._page, self._method, self._before = page, method, before
        self._routes: list[tuple[Route, Any]] = []
        self._address, self._is_open = address, False
        page.route(address, self._hold)

    def _hold(self, route: Route) -> None:
        if self._is_open or route.request.method != self._method:
            route.fallback()
        else:
            self._routes.append((route, None if self._before else route.fetch()))

    def wait(self, count: int = 1) -> None:
        """Until that many are held back."""
        until = time.monotonic() + 60
        while len(self._routes) < count:
            assert time.monotonic() < until, "the page didn't ask"
            self._page.wait_for_timeout(20)

    def let_go(self) -> None:
        """Let them reach the page, and hold back no more."""
        self._is_open = True
        for route, answer in self._routes:
            if answer is None:
                route.continue_()
            else:
                route.fulfill(response=answer)
        self._page.unroute(self._address, self._hold)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Studio]:
    with studio(tmp_path / "clapper") as running:
        yield running


@pytest.fixture
def words_studio(tmp_path: Path) -> Iterator[Studio]:
    project = earmark.Project(tmp_path / "words", create=True, mode="words")
    project.set_base("words")
    with studio(project.path) as running:
        yield running


@contextmanager
def slow_page(running: Studio, recording: Path) -> Iterator[Page]:
    """A page whose microphone is asked for and not there yet."""
    with browsers.borrow(*microphone_arguments(recording)) as browser:
        context = browser.new_context(bypass_csp=True)  # so that a test may wait for what a script says
        context.add_init_script(SLOW_MICROPHONE)
        page = context.new_page()
        page.goto(running.address)
        page.wait_for_function("Boolean(window.letIn)")
        yield page


def clips(running: Studio) -> dict[str, int]:
    return {label["name"]: len(label["clips"]) for label in running.project()["labels"]}


def wait_for_clips(running: Studio, expected: dict[str, int]) -> None:
    until = time.monotonic() + 60
    while clips(running) != expected:
        assert time.monotonic() < until, clips(running)
        time.sleep(0.05)


def change_elsewhere(running: Studio, name: str = "Elsewhere") -> None:
    """Another page adds a class, of which every page is told."""
    assert running.request("POST", "/api/labels", json={"name": name}).status_code == 200


# What is chosen


def test_a_choice_is_not_undone_by_an_older_state(words_studio: Studio, microphone: Path) -> None:
    with open_page(words_studio, microphone) as page:
        answers = Held(page, "**/api/project", "GET")
        change_elsewhere(words_studio)
        answers.wait()
        changes = Held(page, "**/api/project", "PATCH", before=True)
        base = page.get_by_role("radio", name="speech", exact=True)
        if base.is_disabled():
            pytest.skip("needs the base speech")
        base.check()
        changes.wait()
        answers.let_go()
        expect(page.get_by_label("Name of class 1")).to_have_value("Elsewhere")
        expect(base).to_be_checked()
        changes.let_go()
        expect(page.locator("#base-hint")).to_contain_text("speech")
        expect(base).to_be_checked()
    assert words_studio.project()["base"] == "speech"


def test_of_two_choices_in_a_row_the_last_one_holds(fresh: Studio, microphone: Path) -> None:
    with open_page(fresh, microphone) as page:
        changes = Held(page, "**/api/project", "PATCH", before=True)
        page.get_by_role("radio", name="Short sounds").focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowRight")
        changes.wait()
        changes.let_go()
        expect(page.locator("#base")).to_be_visible()
        expect(page.get_by_role("radio", name="Words and longer sounds")).to_be_checked()
        page.wait_for_timeout(500)
        expect(page.get_by_role("radio", name="Words and longer sounds")).to_be_checked()
    assert fresh.project()["mode"] == "words"


def test_a_choice_that_is_refused_is_taken_back(words_studio: Studio, microphone: Path) -> None:
    with open_page(words_studio, microphone) as page:
        answer = json.dumps({"error": "This can't be."})
        page.route("**/api/project", lambda route: route.fulfill(status=400, body=answer))
        page.get_by_role("radio", name="speech", exact=True).click()
        expect(page.locator(".notice.error")).to_contain_text("This can't be.")
        expect(page.get_by_role("radio", name="words", exact=True)).to_be_checked()


def test_a_name_and_a_colour_are_not_undone_by_an_older_state(fresh: Studio, microphone: Path) -> None:
    with open_page(fresh, microphone) as page:
        changes = Held(page, "**/api/labels?*", "PATCH", before=True)
        name, colour = page.get_by_label("Name of class 1"), page.get_by_label("Colour of Left")
        name.fill("hello")
        name.press("Enter")
        colour.fill("#123456")
        changes.wait(2)
        change_elsewhere(fresh)
        expect(page.get_by_label("Name of class 4")).to_have_value("Elsewhere")
        expect(name).to_have_value("hello")
        expect(colour).to_have_value("#123456")
        changes.let_go()
        expect(page.get_by_label("Colour of hello")).to_have_value("#123456")
        expect(name).to_have_value("hello")
    first = fresh.project()["labels"][0]
    assert (first["name"], first["colour"]) == ("hello", "#123456")


# What is held


def begin_holding(page: Page, button: str = "#left") -> None:
    page.locator(button).hover()
    page.mouse.down()


def expect_recording(page: Page, button: str = "#left") -> None:
    expect(page.locator(button)).to_contain_text(re.compile(r"Recording (0\.[5-9]|[1-9])"))
    card = page.locator(".card", has=page.locator(button))
    expect(card.locator(".count")).to_have_text(re.compile("[1-9]"))


def test_a_class_may_be_held_while_its_new_name_is_on_its_way(fresh: Studio, microphone: Path) -> None:
    """As when somebody types the name, presses Enter, and goes on at once to the button."""
    with open_page(fresh, microphone) as page:
        changes = Held(page, "**/api/labels?*", "PATCH", before=True)
        page.get_by_label("Name of class 1").fill("hello")
        page.keyboard.press("Enter")
        changes.wait()
        begin_holding(page)
        expect_recording(page)
        change_elsewhere(fresh)
        expect(page.locator(".card")).to_have_count(4)
        expect_recording(page)
        changes.let_go()
        expect(page.get_by_role("button", name="More for hello")).to_be_visible()
        expect_recording(page)
        page.mouse.up()
        expect(page.get_by_role("button", name="Play recording 1 of hello")).to_be_visible()
    assert clips(fresh) == {"hello": 1, "Right": 0, "Noise": 0, "Elsewhere": 0}


@pytest.mark.parametrize("change", [{"name": "hello"}, {"position": 0}, {"colour": "#123456"}])
def test_a_class_may_be_held_while_another_page_changes_it(
    fresh: Studio, microphone: Path, change: dict[str, Any]
) -> None:
    with open_page(fresh, microphone) as page:
        begin_holding(page, "#right")
        expect_recording(page, "#right")
        fresh.request("PATCH", "/api/labels", params={"label": "Right"}, json=change)
        change_elsewhere(fresh)
        expect(page.locator(".card")).to_have_count(4)
        page.wait_for_timeout(300)
        expect(page.locator(".card.recording .record")).to_contain_text("Recording")
        page.mouse.up()
        expect(page.locator(".card.recording")).to_have_count(0)
        name = change.get("name", "Right")
        expect(page.get_by_role("button", name=f"Play recording 1 of {name}")).to_be_visible()
    assert sum(clips(fresh).values()) == clips(fresh)[name] == 1


def test_letting_go_ends_the_recording_of_a_class_that_is_gone(fresh: Studio, microphone: Path) -> None:
    with open_page(fresh, microphone) as page:
        begin_holding(page)
        expect_recording(page)
        fresh.request("DELETE", "/api/labels", params={"label": "Left"})
        expect(page.locator(".card")).to_have_count(2)
        page.wait_for_timeout(300)
        page.mouse.up()
        wait_for_clips(fresh, {"Right": 0, "Noise": 0, "Left": 1})


def test_a_renaming_that_is_taken_back_keeps_what_is_recorded(fresh: Studio, microphone: Path) -> None:
    with open_page(fresh, microphone) as page:
        fresh.request("PATCH", "/api/labels", params={"label": "Left"}, json={"name": "hello"})
        expect(page.get_by_role("button", name="More for hello")).to_be_visible()
        begin_holding(page)
        expect_recording(page)
        fresh.request("POST", "/api/undo")
        expect(page.get_by_role("button", name="More for Left")).to_be_visible()
        expect_recording(page)
        page.mouse.up()
        wait_for_clips(fresh, {"Left": 1, "Right": 0, "Noise": 0})


# What is pressed while the microphone starts


@pytest.mark.parametrize("way", ["mouse", "key", "digit"])
def test_a_press_waits_for_the_microphone(fresh: Studio, microphone: Path, way: str) -> None:
    with slow_page(fresh, microphone) as page:
        page.locator("#left").hover()
        page.locator("#left").focus()
        keys = {"key": " ", "digit": "1"}
        if way == "mouse":
            page.mouse.down()
        else:
            page.keyboard.down(keys[way])
        expect(page.locator("#left")).to_contain_text("The microphone starts")
        page.evaluate("letIn()")
        expect_recording(page)
        if way == "mouse":
            page.mouse.up()
        else:
            page.keyboard.up(keys[way])
        expect(page.get_by_role("button", name="Play recording 1 of Left")).to_be_visible()
    assert clips(fresh) == {"Left": 1, "Right": 0, "Noise": 0}


def test_a_press_turns_on_a_microphone_that_is_off(fresh: Studio, microphone: Path) -> None:
    with slow_page(fresh, microphone) as page:
        page.evaluate("letIn()")
        expect(page.locator("#device")).to_be_enabled()
        page.evaluate("window.letIn = null; window.stream.getAudioTracks()[0].dispatchEvent(new Event('ended'))")
        expect(page.locator("#microphone-text")).to_contain_text("unplugged")
        begin_holding(page)
        page.wait_for_function("Boolean(window.letIn)")
        page.evaluate("letIn()")
        expect_recording(page)
        page.mouse.up()
        expect(page.get_by_role("button", name="Play recording 1 of Left")).to_be_visible()


def test_a_press_that_ends_before_the_microphone_is_on_is_told(fresh: Studio, microphone: Path) -> None:
    with slow_page(fresh, microphone) as page:
        begin_holding(page)
        expect(page.locator("#left")).to_contain_text("The microphone starts")
        page.mouse.up()
        expect(page.locator("#left")).to_contain_text("Hold to record")
        expect(page.locator(".notice")).to_contain_text("The microphone was not on yet. Hold the button until it is.")
        page.evaluate("letIn()")
        expect(page.locator("#device")).to_be_enabled()
        page.wait_for_timeout(500)
        expect(page.locator(".recording")).to_have_count(0)
        begin_holding(page)
        expect_recording(page)
        page.mouse.up()
        wait_for_clips(fresh, {"Left": 1, "Right": 0, "Noise": 0})


def test_a_press_whose_microphone_does_not_come_is_told_why(fresh: Studio) -> None:
    with browsers.borrow() as browser:
        page, _ = new_page(browser, fresh)
        expect(page.locator("#left")).to_be_visible()
        begin_holding(page)
        expect(page.locator(".notice.error")).to_contain_text(re.compile("microphone", re.IGNORECASE))
        expect(page.locator("#left")).to_contain_text("Hold to record")
        page.mouse.up()


def test_the_device_that_was_chosen_last_is_opened(fresh: Studio, microphone: Path) -> None:
    """Also where the first one is still being opened."""
    with slow_page(fresh, microphone) as page:
        page.evaluate("letIn()")
        expect(page.locator("#device")).to_be_enabled()
        devices = page.locator("#device option").evaluate_all("options => options.map(({value}) => value)")
        assert len(devices) >= 3, "Chromium pretends to have several"
        page.evaluate("window.letIn = window.stream = null")
        page.locator("#device").select_option(devices[1])
        page.wait_for_function("Boolean(window.letIn)")
        page.locator("#device").select_option(devices[2])
        opened = "window.letIn(), window.stream?.getAudioTracks()[0].getSettings().deviceId"
        page.wait_for_function(f"({opened}) === '{devices[2]}'")
        expect(page.locator("#microphone-help")).to_be_hidden()
        expect(page.locator("#device")).to_have_value(devices[2])


# What is about to be pressed


@pytest.mark.parametrize("said", ["Train", "Cancel"])
def test_a_button_does_what_it_said_when_it_was_pressed(tmp_path: Path, microphone: Path, said: str) -> None:
    """Another page starts a training, or ends it, between pressing the button and letting it go."""
    project = earmark.Project(tmp_path / "clapper", create=True)
    for label, make in (("Left", sounds.whistle), ("Right", sounds.snaps)):
        project.add(label, make(120.0, 1), sounds.RATE)  # its epochs take far longer than a look at the button
    with studio(project.path) as running, open_page(running, microphone) as page:
        if said == "Cancel":
            running.request("POST", "/api/train")
        expect(page.locator("#train")).to_have_text(said)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.method) if "/api/train" in request.url else None)
        page.locator("#train").hover()
        page.mouse.down()
        running.request("POST" if said == "Train" else "DELETE", "/api/train")
        expect(page.locator("#train")).not_to_have_text(said)
        page.mouse.up()
        page.wait_for_timeout(300)
        assert asked == ["POST" if said == "Train" else "DELETE"]
        running.request("DELETE", "/api/train")


def test_listen_pressed_again_before_the_answer_holds(tmp_path: Path, microphone: Path) -> None:
    project = earmark.Project(tmp_path / "clapper", create=True)
    for label, make in (("Left", sounds.whistle), ("Right", sounds.snaps)):
        project.add(label, make(1.0, 1), sounds.RATE)
    project.train()
    with studio(project.path) as running, open_page(running, microphone) as page:
        seen = """() => {
          window.seen = [];
          const button = document.getElementById('listen');
          new MutationObserver(() => window.seen.push(button.textContent))
            .observe(button, {childList: true, characterData: true, subtree: true});
          for (let i = 0; i < 5; i++) button.click();
        }"""
        page.evaluate(seen)
        expect(page.locator("#scores li")).to_have_count(2)
        page.wait_for_timeout(500)
        expect(page.locator("#listen")).to_have_text("Stop")
        assert set(page.evaluate("window.seen")) == {"Stop"}, "no answer to an older question changes the button"


def test_no_message_of_the_server_draws_a_control_anew(tmp_path: Path, microphone: Path) -> None:
    """What stands on the page is the same element still after whatever can be told, unless that takes it away."""
    project = earmark.Project(tmp_path / "clapper", create=True, mode="words")
    project.set_base("words")
    for label in ("Left", "Right"):
        for number in range(2):
            project.add(label, sounds.whistle(1.0, number), sounds.RATE)
    project.train()
    with studio(project.path) as running, open_page(running, microphone) as page:
        running.request("POST", "/api/evaluate")
        expect(page.locator("#evaluation-open")).to_be_visible(timeout=120_000)
        page.locator("#evaluation-open").click()
        page.evaluate(MARK)
        page.evaluate("navigator.mediaDevices.dispatchEvent(new Event('devicechange'))")

        def told(method: str, path: str, **options: Any) -> None:
            answer = running.request(method, path, **options)
            assert answer.status_code == 200, answer.text
            change_elsewhere(running, f"after {path} {told.count}")  # type: ignore[attr-defined]
            told.count += 1  # type: ignore[attr-defined]
            expect(page.locator(".card")).to_have_count(len(running.project()["labels"]))
            page.wait_for_timeout(100)
            assert page.evaluate(GONE) == [], (method, path, options)

        told.count = 0  # type: ignore[attr-defined]
        whistle = project.clips("Right")[0].path.read_bytes()
        told("POST", "/api/clips", params={"label": "Left", "name": "new.flac"}, content=whistle)
        told("PATCH", "/api/labels", params={"label": "Left"}, json={"name": "hello"})
        told("PATCH", "/api/labels", params={"label": "hello"}, json={"colour": "#123456"})
        told("PATCH", "/api/labels", params={"label": "hello"}, json={"position": 1})
        told("POST", "/api/undo")
        told("POST", "/api/train")
