"""The report: one file with nothing from outside, every name escaped, and mistakes that sound like their recordings."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ViewportSize

from earmark import EarmarkError
from earmark.evaluation.advice import advise
from earmark.evaluation.evaluation import Alarm, Background, Evaluation, ScoredClip
from earmark.evaluation.figures import shorten
from earmark.evaluation.report import write_report
from earmark.evaluation.report_sounds import loudest_seconds, part_around, small
from earmark.front_end.recordings import sound_of
from tests import bands, chirps
from tests.browser import chromium

RATE = 16_000
SCRIPT = "<script>alert(1)</script>"
MATHS = "$x_1^2$ & \"quoted\" 'too'"
LABELS = ("_background_noise_", SCRIPT, MATHS, "_own_", "ひだりの音をきくためのながいラベル")
VOID = {"meta", "img", "br"}

Samples = npt.NDArray[np.float32]


@dataclass
class Page(HTMLParser):
    """What a page holds, by Python's own parser."""

    text: str = ""
    style: str = ""
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def read(file: Path) -> Page:
    page = Page()
    page.feed(file.read_text(encoding="utf-8"))
    page.close()
    assert page.open == []  # every element is closed, in order
    return page


def sounds_of(page: Page) -> list[tuple[Samples, int]]:
    sounds = []
    for audio in page.all("audio"):
        kind, data = str(audio["src"]).split(",", 1)
        assert kind == "data:audio/flac;base64"
        sounds.append(soundfile.read(io.BytesIO(base64.b64decode(data)), dtype="float32"))
    return sounds


@pytest.fixture
def evaluated(tmp_path: Path) -> Evaluation:
    """20 recordings of one second, with 13 mistakes of falling scores, and four minutes of background with 8 alarms."""
    clips = []
    for number in range(20):
        label = LABELS[number % len(LABELS)]
        file = tmp_path / "clips & co" / f"<img src=x onerror=alert({number})>.wav"
        chirps.save(file, bands.room_with({0.2: bands.burst(bands.LOW, 0.5, number)}, seconds=1.0))
        heard = (number + (1 if number < 13 else 0)) % len(LABELS)
        scores = np.full(len(LABELS), 0.01, np.float32)
        scores[heard] = 0.96 - number / 100
        clips.append(ScoredClip(file, label, scores))
    room = chirps.save(tmp_path / "room <b>.wav", bands.hiss(240.0, 5))
    alarms = tuple(Alarm(room, SCRIPT, 20.0 * at + 200, 20.0 * at + 201.5, 0.9 - at / 50) for at in range(-8, 0))
    counts: dict[str, tuple[int, ...]] = {label: (8, 0) if label == SCRIPT else (0, 0) for label in LABELS[1:]}
    background = Background(240 / 3600, (0.5, 0.9), counts, (alarms, ()))
    return Evaluation(LABELS, tuple(clips), "five <parts>", background)


def test_the_page_is_one_file_and_asks_for_nothing(evaluated: Evaluation, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    write_report(evaluated, file, title="clapper")
    page, text = read(file), file.read_text(encoding="utf-8")
    (policy,) = (meta for meta in page.all("meta") if meta.get("http-equiv"))
    assert policy["content"] == "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "base", "form", "a"} == set()
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "xlink:href", "data", "poster"):
            assert re.match("data:|#", attributes.get(name) or "#"), tag
    addresses = set(re.findall(r"https?:[^\s\"'<]*", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert "url(" not in page.style
    assert "@import" not in page.style
    assert len(text) < 3_000_000


def test_names_are_shown_as_they_are(evaluated: Evaluation, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    title, card = "<b>clapper</b> $title ${x}", {"na<me": "va<lue>", "labels": [], "parameters": 5}
    write_report(evaluated, file, title=title, model_card=card, false_alarms_per_hour=200)
    page = read(file)
    for shown in (*LABELS, title, "five <parts>", "na<me", "va<lue>", "clips & co/<img src=x onerror=alert(0)>.wav"):
        assert shown in page.text
    assert page.text.count(SCRIPT) > 5
    assert "room <b>.wav, 40.0 to 41.5 s" in page.text
    ids = [str(attributes["id"]) for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = {str(use["xlink:href"])[1:] for use in page.all("use")}
    assert used
    assert used | set(re.findall(r"url\(#([^)]+)\)", file.read_text(encoding="utf-8"))) <= set(ids)


def test_it_says_the_numbers(evaluated: Evaluation, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    write_report(evaluated, file, title="clapper")
    text = read(file).text
    # 7 of 20 by Wilson: 18.1 % to 56.7 %.
    assert "35.0%7 of 20 recordings; 95 % interval 18.1% to 56.7%" in text
    assert "Recommended threshold0.9with it, 0 of 16 recordings" in text
    # Nothing in four minutes: up to 3.689 × 15 = 55.3 an hour (Garwood).
    assert "0 in 4 min0.0 an hour of background; 95 % interval 0.0 to 55.3 an hour" in text
    for sentence in advise(evaluated):
        assert sentence in text
    assert "The 12 surest of 13" in text
    assert f"“_background_noise_” heard as “{SCRIPT}”, score 0.96" in text
    assert text.index("score 0.96") < text.index("score 0.95") < text.index("score 0.85")
    assert "score 0.84" not in text


@pytest.mark.slow
def test_the_tables_and_figures_can_be_read_aloud(evaluated: Evaluation, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    write_report(evaluated, file, title="clapper", model_card={"name": "sounds"})
    page = read(file)
    assert all(header["scope"] in ("col", "row") for header in page.all("th"))
    assert len(page.all("table")) == 4
    drawn = [svg for svg in page.all("svg") if "aria-hidden" not in svg]
    assert len(drawn) == 4
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in drawn)
    assert len(page.all("h1")) == 1
    assert all(image["alt"] for image in page.all("img"))
    assert all("heard as" in str(audio["aria-label"]) for audio in page.all("audio"))


@pytest.mark.slow
def test_mistakes_sound_like_their_recordings(evaluated: Evaluation, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    write_report(evaluated, file, title="clapper", false_alarms_per_hour=200)
    page = read(file)
    sounds = sounds_of(page)
    assert len(sounds) == len(page.all("img")) == 12 + 6
    for (samples, rate), mistake in zip(sounds[:12], evaluated.mistakes[:12], strict=True):
        original, _ = soundfile.read(mistake.clip.path, dtype="float32")
        assert rate == RATE
        np.testing.assert_array_equal(samples, original)
    assert evaluated.background is not None
    for (samples, _), alarm in zip(sounds[12:], evaluated.background.worst_at(0.5)[:6], strict=True):
        start, end = round((alarm.start - 0.25) * RATE), round((alarm.end + 0.25) * RATE)
        original, _ = soundfile.read(alarm.recording, dtype="float32", start=start, stop=end)
        np.testing.assert_array_equal(samples, original)
    picture = base64.b64decode(str(page.all("img")[0]["src"]).removeprefix("data:image/png;base64,"))
    assert picture.startswith(b"\x89PNG")
    # Width and height: one second has 43 frames, and of 232 bins two share a row.
    assert (int.from_bytes(picture[16:20], "big"), int.from_bytes(picture[20:24], "big")) == (43, 116)


def test_of_a_long_clip_the_loudest_three_seconds_are_kept(tmp_path: Path) -> None:
    long = bands.room_with({7.0: bands.burst(bands.HIGH, 2.0, 1)}, seconds=12.0)
    clip = sound_of(loudest_seconds(chirps.save(tmp_path / "long.wav", long)))
    assert clip.seconds == 3
    written, _ = soundfile.read(tmp_path / "long.wav", dtype="float32")
    (at,) = (at for at in range(6 * RATE, 7 * RATE + 1) if np.array_equal(written[at : at + 20], clip.samples[:20]))
    np.testing.assert_array_equal(written[at : at + 3 * RATE], clip.samples)  # the burst is all inside


def test_a_part_is_cut_where_it_was_heard(tmp_path: Path) -> None:
    samples = bands.hiss(10.0, 1, 48_000)
    file = tmp_path / "room.wav"
    soundfile.write(file, samples, 48_000, subtype="FLOAT")
    np.testing.assert_array_equal(
        part_around(file, 4.0, 4.5).samples, samples[round(3.75 * 48_000) : round(4.75 * 48_000)]
    )
    np.testing.assert_array_equal(part_around(file, 0.0, 0.5).samples, samples[: round(0.75 * 48_000)])
    np.testing.assert_array_equal(part_around(file, 9.5, 10.0).samples, samples[round(9.25 * 48_000) :])
    long = part_around(file, 1.0, 9.0)
    np.testing.assert_array_equal(long.samples, samples[round(3.5 * 48_000) : round(6.5 * 48_000)])
    assert small(long).sample_rate == RATE
    assert small(long).seconds == 3


def test_high_rates_are_brought_down_and_low_ones_stay(tmp_path: Path) -> None:
    tone = (np.sin(2 * np.pi * 1_000 * np.arange(44_100) / 44_100) / 2).astype(np.float32)
    down = small(sound_of(loudest_seconds(chirps.save(tmp_path / "tone.wav", tone, 44_100))))
    assert (down.sample_rate, len(down.samples)) == (RATE, RATE)
    wanted = np.sin(2 * np.pi * 1_000 * np.arange(RATE) / RATE) / 2
    np.testing.assert_allclose(down.samples[1_000:-1_000], wanted[1_000:-1_000], atol=1e-3)
    assert small(sound_of(loudest_seconds(chirps.save(tmp_path / "low.wav", tone[:8_000], 8_000)))).sample_rate == 8_000


@pytest.mark.slow
def test_the_same_evaluation_gives_the_same_file(evaluated: Evaluation, tmp_path: Path) -> None:
    for name in ("one.html", "two.html"):
        write_report(evaluated, tmp_path / name, title="clapper", model_card={"name": "sounds"})
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_recordings_that_are_gone_or_tiny_leave_the_rest_whole(evaluated: Evaluation, tmp_path: Path) -> None:
    gone, tiny, *_ = (mistake.clip.path for mistake in evaluated.mistakes)
    gone.unlink()
    chirps.save(tiny, bands.hiss(0.01, 1))
    write_report(evaluated, tmp_path / "report.html", title="clapper")
    page = read(tmp_path / "report.html")
    assert f"{gone} does not exist" in page.text
    assert len(sounds_of(page)) == 11
    assert len(page.all("img")) == 10  # ten milliseconds are shorter than a spectrogram's frame


def test_what_was_not_measured_is_said_so(evaluated: Evaluation, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    write_report(replace(evaluated, background=None), file, title="clapper")
    text = read(file).text
    assert "unknownno background was measured" in text
    assert "No background was measured, so it is the one" in text
    empty = Background(0.0, (0.5,), dict.fromkeys(LABELS[1:], (0,)))
    write_report(Evaluation(LABELS, (), "nothing", empty), file, title="clapper")
    page = read(file)
    assert "Curves need recordings of at least two labels" in page.text
    assert "None: every recording was recognized" not in page.text
    assert "nan" not in re.sub('data:[^"]*', "", file.read_text(encoding="utf-8")).lower()
    perfect = tuple(
        replace(clip, scores=np.eye(5, dtype=np.float32)[at % 5]) for at, clip in enumerate(evaluated.clips)
    )
    write_report(Evaluation(LABELS, perfect, "all right", None), file, title="clapper")
    assert "None: every recording was recognized" in read(file).text


def test_a_report_that_cant_be_written_leaves_the_old_one(evaluated: Evaluation, tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match=r"gone/report\.html can't be written"):
        write_report(evaluated, tmp_path / "gone" / "report.html", title="clapper")


def test_without_matplotlib_it_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from pathlib import Path\n"
        "from earmark.evaluation.evaluation import Evaluation\n"
        "from earmark.evaluation.report import write_report\n"
        "write_report(Evaluation(('a', 'b'), (), 'none'), Path('r.html'), title='a')\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.stderr.strip().endswith(
        "The report needs the package matplotlib: install it with `pip install 'earmark[evaluate]'`."
    )


def test_labels_are_cut_to_the_room_there_is() -> None:
    assert shorten("a" * 20) == "a" * 20
    assert shorten("a" * 21) == "a" * 19 + "…"
    assert shorten("音" * 10) == "音" * 10  # two columns each
    assert shorten("音" * 11) == "音" * 9 + "…"


@pytest.mark.slow
@pytest.mark.parametrize("look", ["light", *(pytest.param(look, marks=pytest.mark.slow) for look in ("dark", "phone"))])
def test_a_browser_shows_it_whole_and_without_complaint(evaluated: Evaluation, tmp_path: Path, look: str) -> None:
    file = tmp_path / "report.html"
    write_report(evaluated, file, title="clapper", model_card={"name": "sounds"})
    size: ViewportSize = {"width": 390, "height": 844} if look == "phone" else {"width": 1280, "height": 800}
    complaints: list[str] = []
    with chromium() as browser:
        page = browser.new_page(viewport=size, color_scheme="dark" if look == "dark" else "light", bypass_csp=False)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.goto(file.as_uri())
        page.wait_for_function("[...document.querySelectorAll('audio')].every((audio) => audio.readyState > 0)")
        seconds = page.evaluate("[...document.querySelectorAll('audio')].map((audio) => audio.duration)")
        assert seconds == pytest.approx([1.0] * 12)
        assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert complaints == []
        page.close()
        page = browser.new_page(viewport=size, color_scheme="dark" if look == "dark" else "light", bypass_csp=True)
        page.goto(file.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach((details) => (details.open = true))")
        assert [fault["id"] for fault in Axe().run(page).response["violations"]] == []
