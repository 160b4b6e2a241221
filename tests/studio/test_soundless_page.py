"""Recordings of which only the spectrogram is left, on the page, in a real Chromium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

import earmark
from tests import chirps
from tests.studio.opening import open_page
from tests.studio.running import Studio, studio

pytestmark = pytest.mark.slow

SEEN = "Spectrogram of recording 2 of rise, 1.0 s, without sound"
# What the page has drawn of a picture: its size in pixels, and how many different colours it has.
DRAWN = """canvas => {
  const pixels = new Uint32Array(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer);
  return [canvas.width, canvas.height, new Set(pixels).size];
}"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Studio]:
    """A studio of a word's three recordings; of the one in the middle only the spectrogram is left."""
    project = earmark.Project(tmp_path / "words", create=True, mode="words")
    levels = np.repeat(np.linspace(-110, -20, 43, dtype=np.float32)[:, np.newaxis], 232, axis=1)
    project.add("rise", chirps.word("rise"), chirps.RATE, name="a")
    project.add_spectrogram("rise", levels, name="b")
    project.add("rise", chirps.word("rise", take=2), chirps.RATE, name="c")
    with studio(project.path) as started:
        yield started


def test_it_is_seen_trimmed_and_deleted_but_not_played(running: Studio, microphone: Path) -> None:
    with open_page(running, microphone, bypass_csp=True) as page:
        tile = page.locator(".clip", has=page.get_by_role("img", name=SEEN))
        expect(tile.get_by_title("No sound: only the spectrogram is left")).to_be_visible()
        expect(tile.locator("use").first).to_have_attribute("href", re.compile("#silent$"))
        expect(page.get_by_role("button", name="Play recording")).to_have_count(2)
        expect(tile.get_by_role("button")).to_have_count(2)
        tile.scroll_into_view_if_needed()
        page.wait_for_function("name => document.querySelector(`[aria-label='${name}'] canvas`).width === 43", arg=SEEN)
        width, height, colours = tile.locator("canvas").evaluate(DRAWN)
        assert (width, height) == (43, 58)
        assert colours > 20
        assert [fault["id"] for fault in Axe().run(page).response["violations"]] == []
        trim(page)
        expect(page.get_by_role("img", name=SEEN.replace("1.0 s", "0.5 s"))).to_be_visible()
        page.locator("#undo").click()
        expect(page.get_by_role("img", name=SEEN)).to_be_visible()

        # The focus goes from what is deleted to what lies beside it, which has no button to play it.
        page.get_by_role("button", name="Play recording 3 of rise").focus()
        running.request("DELETE", "/api/clips", params={"clip": "rise/c.flac"})
        expect(page.get_by_role("button", name="Trim or move recording 2 of rise")).to_be_focused()
        tile.get_by_role("button", name="Delete recording 2 of rise").click()
        expect(page.get_by_role("img", name=SEEN)).to_have_count(0)


def trim(page: Page) -> None:
    page.get_by_role("button", name="Trim or move recording 2 of rise").click()
    page.get_by_role("menuitem", name="Trim…").click()
    dialog = page.get_by_role("dialog", name="Trim recording")
    expect(dialog.get_by_role("button", name="Preview")).to_be_hidden()
    expect(dialog.get_by_text("It has no sound")).to_be_visible()
    dialog.locator("input[name=start]").fill("0.5")
    dialog.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Trim or move recording 1 of rise").click()
    page.get_by_role("menuitem", name="Trim…").click()
    expect(dialog.get_by_role("button", name="Preview")).to_be_visible()
    expect(dialog.get_by_text("It has no sound")).to_be_hidden()
    dialog.get_by_role("button", name="Cancel").click()


def test_the_page_says_which_base_can_not_be_used(running: Studio, microphone: Path) -> None:
    with open_page(running, microphone) as page:
        expect(page.get_by_role("radio", name="words", exact=True)).to_be_checked()
        expect(page.get_by_role("radio", name="speech", exact=True)).to_be_disabled()
        expect(page.locator("#base-hint p").last).to_contain_text("of some only the spectrogram is left")


def test_another_base_must_be_chosen_when_the_chosen_one_can_not_be_used_any_more(
    running: Studio, microphone: Path
) -> None:
    assert running.request("PATCH", "/api/project", json={"base": "speech"}).status_code == 200
    with open_page(running, microphone) as page:
        expect(page.locator("#train")).to_be_disabled()
        expect(page.locator("#train-hint")).to_have_text("Choose another base first.")
        expect(page.locator("#evaluate")).to_be_disabled()
        expect(page.locator("#base-hint p")).to_have_count(1)
        page.get_by_role("radio", name="words", exact=True).check()
        expect(page.locator("#train")).to_be_enabled()
        expect(page.locator("#evaluate")).to_be_enabled()
