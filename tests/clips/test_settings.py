"""The settings file, earmark.toml."""

import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from earmark import EarmarkError
from earmark.clips.settings import COLOURS, Label, Settings, check_colour, free_colour, read_settings, write_settings
from earmark.labels import check_label
from tests.budget import budget

HEAD = 'name = "a"\nmode = "sounds"\n'

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
colours = st.from_regex(r"#[0-9a-f]{6}", fullmatch=True)


def accepted(name: str) -> str:
    try:
        return check_label(name)
    except EarmarkError:
        assume(False)
        raise


@budget(50)
@given(
    names,
    st.sampled_from(["sounds", "words"]),
    st.dictionaries(names.filter(str.strip), colours, max_size=6),
    st.none() | names,
    st.dictionaries(names, st.integers(0, 2**63 - 1), max_size=4),
)
@example(
    "\r\n\t\"'\\\x7f", "words", {"a\"b'c": "#000000", "[x]": "#ffffff", "a=b # c": "#123456"}, "../b", {"a/b.c": 0}
)
def test_what_is_written_is_read_again(
    name: str, mode: str, labels: dict[str, str], base: str | None, key_frames: dict[str, int]
) -> None:
    kept = {accepted(label): colour for label, colour in labels.items()}
    written = Settings(name, mode, tuple(Label(label, colour) for label, colour in kept.items()), base, key_frames)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "earmark.toml"
        write_settings(file, written)
        assert read_settings(file) == written


@budget(150)
@given(st.one_of(st.binary(max_size=80), st.text(max_size=80).map(lambda text: (HEAD + text).encode(errors="ignore"))))
@example((HEAD + "a = " + "[" * 5000).encode())
@example((HEAD + "labels = 5").encode())
@example((HEAD + 'labels = ["Left"]').encode())
@example((HEAD + "labels = [{name = 5}]").encode())
@example((HEAD + 'labels = [{name = "a", colour = 5}]').encode())
@example((HEAD + "base = 5").encode())
@example((HEAD + "key_frames = 5").encode())
@example((HEAD + "key_frames = [5]").encode())
@example((HEAD + "key_frames = {a = inf}").encode())
@example((HEAD + "key_frames = {a = {b = 5}}").encode())
@example(b"\xff\xfe")
def test_any_text_gives_settings_or_one_sentence(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "earmark.toml"
        file.write_bytes(content)
        try:
            assert read_settings(file).mode == "sounds"
        except EarmarkError as error:
            assert str(file) in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    "content",
    [
        "",
        "name = ",
        'name = "a"',
        'mode = "sounds"',
        'name = "a"\nmode = "dances"',
        HEAD + 'labels = [{colour = "#000000"}]',
        HEAD + 'labels = [{name = ""}]',
        HEAD + 'labels = [{name = "a", colour = "red"}]',
        HEAD + "key_frames = 7",
        HEAD + "key_frames = [7]",
        HEAD + 'key_frames = {"Left/a.flac" = "7"}',
        HEAD + 'key_frames = {"Left/a.flac" = 7.0}',
        HEAD + 'key_frames = {"Left/a.flac" = -1}',
        HEAD + 'key_frames = {"Left/a.flac" = inf}',
        HEAD + 'key_frames = {"Left/a.flac" = true}',
        HEAD + "[key_frames]\nLeft.a = 7",
    ],
)
def test_a_file_that_somebody_broke_is_named_with_a_remedy(tmp_path: Path, content: str) -> None:
    file = tmp_path / "earmark.toml"
    file.write_text(content)
    with pytest.raises(EarmarkError) as caught:
        read_settings(file)
    assert str(file) in str(caught.value)
    assert ": " in str(caught.value)
    assert file.read_text() == content


def test_a_folder_without_settings_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(EarmarkError, match=f"^{re.escape(str(tmp_path))} is not a project: create it with"):
        read_settings(tmp_path / "earmark.toml")


def test_settings_that_are_a_folder_are_told(tmp_path: Path) -> None:
    (tmp_path / "earmark.toml").mkdir()
    with pytest.raises(EarmarkError, match=r"earmark\.toml can't be read"):
        read_settings(tmp_path / "earmark.toml")


def test_what_was_not_chosen_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "earmark.toml"
    write_settings(file, Settings("a", "sounds"))
    assert file.read_text() == HEAD + "labels = []\n"
    assert (read_settings(file).base, read_settings(file).key_frames) == (None, {})
    file.write_text(HEAD + 'base = "speech"\nkey_frames = {"Left/a.flac" = 7}')
    assert (read_settings(file).base, read_settings(file).key_frames) == ("speech", {"Left/a.flac": 7})


def test_settings_written_by_hand_get_colours_and_lose_doubles(tmp_path: Path) -> None:
    file = tmp_path / "earmark.toml"
    file.write_text(
        HEAD + 'labels = [{name = " Left "}, {name = "Left"}, {name = "e\u0301", colour = "#ABCDEF"}]', "utf-8"
    )
    left, second = read_settings(file).labels
    assert (left.name, second) == ("Left", Label("é", "#abcdef"))
    assert re.fullmatch("#[0-9a-f]{6}", left.colour)


@pytest.mark.parametrize("colour", ["", "red", "2563eb", "#2563e", "#2563ebf", "#2563eg", "#2563eb\n", "#２５６３４５"])
def test_what_is_not_a_colour_is_refused(colour: str) -> None:
    with pytest.raises(EarmarkError, match="write it like #2563eb"):
        check_colour(colour)


def test_a_colour_is_kept_in_lower_case() -> None:
    assert check_colour("#2563EB") == "#2563eb"


def test_new_labels_get_different_colours_for_as_long_as_there_are_some() -> None:
    labels: list[Label] = []
    for number in range(2 * len(COLOURS)):
        labels.append(Label(str(number), free_colour(labels)))
    used = [label.colour for label in labels]
    assert len(set(used[: len(COLOURS)])) == len(COLOURS) == 10
    assert sorted(used[:10]) == sorted(used[10:])
    assert all(check_colour(colour) == colour for colour in used)
