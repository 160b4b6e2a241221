"""Label names and their folders."""

import unicodedata

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from earmark import EarmarkError
from earmark.labels import check_label, folder_label, label_folder
from tests.budget import budget

# What no label's folder may hold on any of the common systems (Microsoft: "Naming Files, Paths, and Namespaces").
FORBIDDEN = frozenset('<>:"/\\|?*\0') | {chr(code) for code in range(32)}
SUPERSCRIPTS = {"¹", "²", "³"}  # reserved behind COM and LPT too
DEVICES = {"CON", "PRN", "AUX", "NUL"} | {
    port + number for port in ("COM", "LPT") for number in {*"123456789", *SUPERSCRIPTS}
}


def accepted(text: str) -> str:
    try:
        return check_label(text)
    except EarmarkError:
        assume(False)
        raise


@budget(400)
@given(st.text(max_size=70))
@example("../x")
@example("AC/DC")
@example("CON")
@example("com¹")
@example("a.")
@example("..")
@example("%2e%2e")
@example("👩‍👩‍👧")
@example("e\u0301")
@example("\u0130")
@example("語" * 64)
def test_every_label_has_one_safe_folder_and_comes_back_from_it(text: str) -> None:
    label = accepted(text)
    folder = label_folder(label)
    assert folder_label(folder) == label
    assert 0 < len(folder.encode()) <= 200
    assert folder.strip(". ") == folder, "Windows drops dots and spaces at a name's end, and a dot hides it in front"
    assert not FORBIDDEN & set(folder)
    assert folder.upper() not in DEVICES


@budget(300)
@given(st.text(max_size=70))
def test_a_checked_label_is_trimmed_composed_printable_and_stays_as_it_is(text: str) -> None:
    label = accepted(text)
    assert label == label.strip() == unicodedata.normalize("NFC", label)
    assert 1 <= len(label) <= 64
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in label)
    assert check_label(label) == label


@budget(200)
@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=30))
def test_two_labels_never_share_a_folder(text: str) -> None:
    label = accepted(text)
    other = accepted(label + "x")
    assert label_folder(label) != label_folder(other)


@pytest.mark.parametrize(
    ("label", "folder"),
    [
        ("Left", "Left"),
        ("_background_noise_", "_background_noise_"),
        ("two words", "two words"),
        ("été", "été"),
        ("../x", "%2E%2E%2Fx"),  # ASCII: '.' is 2E, '/' is 2F
        ("AC/DC", "AC%2FDC"),
        ("a.", "a%2E"),
        ("CON", "%43ON"),  # ASCII: 'C' is 43
        ("100%", "100%25"),
        ("🙂", "%F0%9F%99%82"),  # U+1F642 in UTF-8
    ],
)
def test_the_folder_of_a_label_is_percent_encoded_where_it_must_be(label: str, folder: str) -> None:
    assert label_folder(label) == folder
    assert folder_label(folder) == label


def test_a_folder_named_on_a_mac_stands_for_the_composed_label() -> None:
    assert folder_label("e\u0301te\u0301") == "été"


@pytest.mark.parametrize(("typed", "kept"), [("  Left\t", "Left"), ("e\u0301", "é"), ("\u00a0a b\u00a0", "a b")])
def test_what_is_typed_is_trimmed_and_composed(typed: str, kept: str) -> None:
    assert check_label(typed) == kept


@pytest.mark.parametrize(
    "label",
    [
        "",
        " ",
        "\n",
        "a\nb",
        "a\0b",
        "a\x1b[31m",
        "a\x7fb",
        "a\x85b",
        "a\u2028b",
        "\ud800",
        "x" * 65,
        "x" * 300,
        "🙂" * 17,
    ],
    ids=ascii,
)
def test_an_unfit_label_is_refused_in_one_sentence(label: str) -> None:
    with pytest.raises(EarmarkError, match=r"^[A-Z][^\n]*: [^\n]+\.$") as caught:
        check_label(label)
    assert len(str(caught.value)) < 120, "a long label isn't repeated whole"
