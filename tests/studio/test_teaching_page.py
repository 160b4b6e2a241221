"""Teaching words on the page, in a real Chromium: from recordings to detections and an evaluation."""

from __future__ import annotations

import io
import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

import earmark
from earmark.studio.evaluating import evaluate
from tests.studio import spoken
from tests.studio.opening import new_page, open_page
from tests.studio.running import Studio, studio

TAUGHT = ("happy", "cat")
COUNT = 6  # recordings of each
HEARD = 180_000  # ms that a word may take
RESERVED = ["Background noise", "Something else"]


@pytest.fixture(scope="module")
def archive(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip of recordings in folders of labels."""
    file = tmp_path_factory.mktemp("archive") / "words.zip"
    with zipfile.ZipFile(file, "w") as folders:
        for word in TAUGHT:
            for number, clip in enumerate(spoken.recordings_of(recordings, word, COUNT)):
                sound = io.BytesIO()
                soundfile.write(sound, clip, spoken.RATE, format="WAV", subtype="PCM_16")
                folders.writestr(f"{word}/{number}.wav", sound.getvalue())
    return file


@pytest.fixture(scope="module")
def microphone(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The words as others said them, one after the other."""
    parts = []
    for number in range(3):
        for word in TAUGHT:
            parts += [spoken.quiet(spoken.PAUSE, number), spoken.recordings_of(recordings, word, 3, "val")[number]]
    file = tmp_path_factory.mktemp("said") / "said.wav"
    soundfile.write(file, np.concatenate(parts), spoken.RATE, subtype="PCM_16")
    return file


@pytest.fixture(scope="module")
def project(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of words, trained and evaluated. Don't change it."""
    project = earmark.Project(tmp_path_factory.mktemp("page") / "words", create=True, mode="words")
    project.set_base("words")
    for word in TAUGHT:
        for clip in spoken.recordings_of(recordings, word, COUNT):
            project.add(word, clip, spoken.RATE)
    project.train()
    evaluate(project, lambda *_: None)
    return project.path


@pytest.fixture(scope="module")
def taught(project: Path) -> Iterator[Studio]:
    with studio(project) as running:
        yield running


@pytest.fixture
def own(project: Path, tmp_path: Path) -> Iterator[Studio]:
    """A studio of a copy, to be changed."""
    shutil.copytree(project, tmp_path / "words")
    with studio(tmp_path / "words") as running:
        yield running


def choose_mode(page: Page, name: str) -> None:
    page.get_by_role("radio", name=name).check()
    expect(page.get_by_role("radio", name=name)).to_be_checked()


def listen(page: Page) -> None:
    page.locator("#listen").click()
    expect(page.locator("#listen")).to_have_text("Stop")


def test_words_are_loaded_trained_heard_and_evaluated(tmp_path: Path, archive: Path, microphone: Path) -> None:
    with studio(tmp_path / "clapper") as running, open_page(running, microphone) as page:
        expect(page.locator("#train-hint")).to_have_text("Record at least two classes first.")
        choose_mode(page, "Words and longer sounds")
        expect(page.locator("#console")).to_have_text("0 recordings collected")
        expect(page.locator("#train-hint")).to_have_text("Record at least one class first.")
        expect(page.locator("#classes-hint")).to_contain_text("say the word once")
        page.locator("#zip-file").set_input_files(archive)
        expect(page.locator("#console")).to_have_text(f"{2 * COUNT} recordings collected")
        expect(page.locator(".card", has=page.get_by_label("More for happy")).locator(".count")).to_have_text(
            f"{COUNT} recordings"
        )
        page.get_by_role("radio", name="words", exact=True).check()
        expect(page.locator("#base-hint")).to_contain_text("Earmark's own word network")

        page.locator("#train").click()
        expect(page.locator("#console")).to_contain_text("Epoch: 50", timeout=HEARD)
        expect(page.locator("#curve svg")).to_be_visible()
        expect(page.locator("#listen")).to_be_enabled()
        assert running.project()["base"] == running.project()["model"]["base"] == "words"

        listen(page)
        expect(page.locator("#heard-word")).to_have_text(re.compile("|".join(TAUGHT)), timeout=HEARD)
        expect(page.locator("#heard-word")).to_be_in_viewport()
        expect(page.locator("#heard-list li")).to_have_count(4, timeout=HEARD)
        assert set(page.locator("#heard-list .heard-word").all_inner_texts()) == set(TAUGHT)
        assert page.locator("#scores .reserved .score-label").all_inner_texts() == RESERVED
        expect(page.locator("#output")).to_be_hidden()
        assert page.locator("#output").input_value() == "5", "no window moves the slider"
        page.locator("#listen").click()
        expect(page.locator("#heard-word")).to_be_empty()

        page.locator("#evaluate").click()
        expect(page.locator("#evaluation-open")).to_be_visible(timeout=HEARD)
        expect(page.locator("#evaluation-hint")).to_have_text(
            re.compile(r"Evaluated: \d+% right, \d+ of 12 recordings \(95% interval \d+% to \d+%\)\.")
        )
        expect(page.locator("#train")).to_be_enabled()


@pytest.mark.slow
def test_the_evaluation_tells_what_was_heard_as_what_and_leads_to_its_report(taught: Studio, microphone: Path) -> None:
    kept = taught.request("GET", "/api/evaluation").json()
    with open_page(taught, microphone) as page:
        page.locator("#evaluation-open").click()
        dialog = page.get_by_role("dialog", name="Evaluation")
        expect(dialog).to_contain_text(f"{kept['accuracy']['hits']} of {2 * COUNT} recordings")
        for sentence in kept["advice"]:
            expect(dialog.get_by_role("listitem").filter(has_text=sentence)).to_have_count(1)
        classes, confusion = dialog.get_by_role("table").all()
        first = kept["labels"][0]
        expect(classes.get_by_role("row").nth(1)).to_contain_text(f"{first['recall']['hits']} of {COUNT}")
        assert confusion.get_by_role("columnheader").all_inner_texts()[1:] == [*TAUGHT, *RESERVED]
        for row, word, counts in zip(confusion.get_by_role("row").all()[1:], TAUGHT, kept["confusion"], strict=False):
            assert row.get_by_role("rowheader").inner_text() == word
            assert [int(cell.replace("·", "0")) for cell in row.get_by_role("cell").all_inner_texts()] == counts
        threshold = kept["recommendation"]["threshold"]
        page.locator("#project-threshold").evaluate("slider => { slider.value = 0.3; }")
        dialog.get_by_role("button", name=f"Use {threshold}").click()
        expect(page.locator("#project-threshold")).to_have_value(str(threshold))
        link = dialog.get_by_role("link", name="Full report")
        with page.context.expect_page() as opened:
            link.click()
        expect(opened.value.get_by_role("heading", name="What to record next")).to_be_visible()
        opened.value.close()
        report, complaints = new_page(page.context.browser, taught, link.get_attribute("href"))  # type: ignore[arg-type]
        expect(report.locator("main svg").first).to_be_visible()
        assert complaints == [], "its policy lets it show itself"
        report.context.close()
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(page.locator("#evaluation-open")).to_be_focused()


@pytest.mark.slow
def test_without_a_report_the_evaluation_says_why(own: Studio, tmp_path: Path, microphone: Path) -> None:
    folder = tmp_path / "words" / "models" / "words"
    (folder / "report.html").unlink()
    kept = json.loads((folder / "evaluation.json").read_text())
    (folder / "evaluation.json").write_text(json.dumps({**kept, "report_remedy": "The report needs matplotlib."}))
    with open_page(own, microphone) as page:
        page.locator("#evaluation-open").click()
        dialog = page.get_by_role("dialog", name="Evaluation")
        expect(dialog).to_contain_text("The report needs matplotlib.")
        expect(dialog.get_by_role("link")).to_have_count(0)


@pytest.mark.slow
def test_the_threshold_keeps_words_away(taught: Studio, microphone: Path) -> None:
    with open_page(taught, microphone) as page:
        slider = page.locator("#project-threshold")
        slider.focus()
        page.keyboard.press("End")
        expect(page.locator("#project-threshold-value")).to_have_text("1.00")
        listen(page)
        page.wait_for_timeout(6_000)
        expect(page.locator("#heard-list li")).to_have_count(0)
        slider.focus()
        page.keyboard.press("Home")
        page.keyboard.press("PageUp")
        expect(page.locator("#heard-word")).not_to_be_empty(timeout=HEARD)


@pytest.mark.slow
def test_changing_the_mode_by_keyboard_ends_the_listening_and_keeps_the_recordings(
    own: Studio, microphone: Path
) -> None:
    with open_page(own, microphone) as page:
        listen(page)
        expect(page.locator("#scores li")).to_have_count(4)
        page.get_by_role("radio", name="Words and longer sounds").focus()
        page.keyboard.press("ArrowLeft")
        expect(page.get_by_role("radio", name="Short sounds")).to_be_checked()
        expect(page.get_by_role("radio", name="Short sounds")).to_be_focused()
        expect(page.locator("#console")).to_have_text(re.compile(r"\d{3} examples collected"))
        expect(page.locator("#listen")).to_have_text("Listen")
        expect(page.locator("#listen")).to_be_disabled()
        expect(page.locator("#output")).to_be_visible()
        expect(page.locator("#base")).to_be_hidden()
        page.keyboard.press("ArrowRight")
        expect(page.locator("#console")).to_have_text(f"{2 * COUNT} recordings collected")
        expect(page.locator("#listen")).to_be_enabled()
        page.get_by_role("radio", name="words", exact=True).check()
        expect(page.locator("#evaluation-open")).to_be_visible()


@pytest.mark.slow
def test_a_base_that_is_not_here_says_what_to_do(taught: Studio, microphone: Path) -> None:
    """The server's answer is changed on its way, for the package is either here or not."""

    def without_speech(route: object) -> None:
        answer = route.fetch()  # type: ignore[attr-defined]
        project = answer.json()
        (speech,) = [base for base in project["bases"] if base["name"] == "speech"]
        speech["remedy"] = "pip install 'earmark[speech]'"
        route.fulfill(response=answer, json=project)  # type: ignore[attr-defined]

    with open_page(taught, microphone) as page:
        page.route("**/api/project", without_speech)
        page.reload()
        expect(page.get_by_role("radio", name="speech")).to_be_disabled()
        expect(page.locator("#base-hint")).to_contain_text("pip install 'earmark[speech]'")
        inside = "box => [...box.children].every(({offsetLeft: x, offsetWidth}) => x + offsetWidth <= box.clientWidth)"
        assert page.locator("#base .segments").evaluate(
            f"box => {{ box.style.position = 'relative'; return ({inside})(box); }}"
        )
        page.unroute_all(behavior="wait")  # the page may be asking again


@pytest.mark.slow
def test_holding_the_button_makes_one_recording(tmp_path: Path, microphone: Path) -> None:
    earmark.Project(tmp_path / "words", create=True, mode="words")
    with studio(tmp_path / "words") as running, open_page(running, microphone) as page:
        expect(page.locator("#no-classes")).to_be_visible()
        page.locator("#add-class").click()
        expect(page.get_by_label("Name of class 1")).to_be_focused()
        page.keyboard.type("hello")
        page.keyboard.press("Enter")
        expect(page.locator("#no-classes")).to_be_hidden()
        expect(page.get_by_label("Name of class 1")).to_have_value("hello")
        page.locator("#left").hover()
        page.mouse.down()
        page.wait_for_timeout(1_500)
        expect(page.locator(".card .count")).to_have_text("1 recording")
        page.mouse.up()
        expect(page.get_by_role("button", name="Play recording 1 of hello")).to_be_visible()
        expect(page.locator("#console")).to_have_text("1 recording collected")
        expect(page.locator("#train")).to_be_enabled()
        expect(page.locator("#evaluate")).to_be_disabled()
        expect(page.locator("#evaluation-hint")).to_contain_text("at least two recordings")


@pytest.mark.slow
def test_changed_recordings_make_the_evaluation_stale(own: Studio, microphone: Path) -> None:
    with open_page(own, microphone) as page:
        expect(page.locator("#evaluation-hint")).not_to_contain_text("changed since")
        page.get_by_role("button", name="Delete recording 1 of cat").click()
        expect(page.locator("#evaluation-hint")).to_contain_text("The recordings changed since.")


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), pytest.param(1_280, "light", marks=pytest.mark.slow)])
def test_axe_finds_no_serious_fault_and_nothing_overflows(
    taught: Studio, microphone: Path, width: int, scheme: str
) -> None:
    size = {"width": width, "height": 800}
    with open_page(taught, microphone, viewport=size, color_scheme=scheme, bypass_csp=True) as page:
        listen(page)
        expect(page.locator("#heard-word")).not_to_be_empty(timeout=HEARD)
        found = Axe().run(page).response["violations"]
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.locator("#evaluation-open").click()
        found += Axe().run(page).response["violations"]
        dialog = page.locator("#evaluation")
        assert dialog.evaluate("node => node.scrollWidth <= node.clientWidth")
    assert [fault["id"] for fault in found if fault["impact"] in ("serious", "critical")] == []
