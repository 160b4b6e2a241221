"""The one error that a user is meant to read."""

import re
import shlex
from unicodedata import category


class EarmarkError(Exception):
    """Something the user can mend. Its message is one sentence that names the thing and the remedy."""

    def __str__(self) -> str:
        return on_one_line(super().__str__())


class DiskError(EarmarkError):
    """The disk is full or read-only: what is written next fails, too."""


def on_one_line(text: str) -> str:
    """Text on one line, safe to show on a terminal: names in it may come from others.

    Control characters, line ends and characters that can't be encoded become question marks.
    """
    return "".join("?" if category(character) in ("Cc", "Cs", "Zl", "Zp") else character for character in text)


def needs_package(what: str, error: ModuleNotFoundError, extra: str) -> EarmarkError:
    """The error for a missing package that one of Earmark's extras brings."""
    return EarmarkError(f"{what} needs the package {error.name}: install it with `pip install 'earmark[{extra}]'`.")


def as_start(name: str) -> str:
    """A name as the first words of a sentence: "the clip" gets a capital letter, and a path stays as it is."""
    return name[0].upper() + name[1:] if name.startswith("the ") else name


def as_argument(name: object) -> str:
    """A name as a shell takes it in a command, such as one that a message suggests."""
    text = str(name)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def check_no_address(name: object, remedy: str = "") -> None:
    """Refuse an address on the web where a file is meant.

    Args:
        name: what the user has named. A path has lost one of the slashes.
        remedy: what else can be done, as the end of the sentence.

    Raises:
        EarmarkError: it is an address.
    """
    found = re.match(r"(?i)(https?|ftp):/{1,2}(?=[^/])", str(name))
    if found:
        address = f"{found[1]}://{str(name)[found.end() :]}"
        raise EarmarkError(
            f"{address} is an address, and a file is needed: download it (curl -LO {shlex.quote(address)}){remedy}."
        )


def as_reason(error: BaseException) -> str:
    """The message of another package's exception, on one line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:200].rstrip(".") or type(error).__name__
