"""Forms, as curl, browsers and nobody send them."""

import io
import uuid
from contextlib import suppress

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark import EarmarkError
from earmark.web.multipart import CHUNK, is_form, keep_file
from tests.budget import budget


def form(**fields: object) -> tuple[bytes, str]:
    """A form as httpx writes it; files are tuples of a name and their content."""
    files = {name: value for name, value in fields.items() if isinstance(value, tuple)}
    data = {name: value for name, value in fields.items() if isinstance(value, str)}
    request = httpx.Request("POST", "http://a", files=files, data=data)
    return request.read(), request.headers["content-type"]


def kept(body: bytes, content_type: str) -> bytes:
    file = io.BytesIO(body)
    keep_file(file, content_type)
    assert file.tell() == 0
    return file.getvalue()


@budget(100)
@given(content=st.binary(max_size=300), before=st.text(max_size=20), name=st.text('ab;="\\ é', max_size=9))
def test_the_file_of_a_form_is_kept_byte_for_byte(content: bytes, before: str, name: str) -> None:
    body, content_type = form(note=before, file=(f"{name}.wav", content))
    assert is_form(content_type)
    assert kept(body, content_type) == content


@pytest.mark.parametrize("size", [CHUNK - 150, CHUNK - 100, CHUNK, 2 * CHUNK + 17])
def test_a_boundary_may_lie_anywhere(size: int) -> None:
    content = uuid.uuid5(uuid.NAMESPACE_URL, str(size)).bytes * (size // 16) + b"\r\n--" + b"x" * (size % 16)
    for note in ("", "n" * 77):
        body, content_type = form(note=note, file=("a.wav", content))
        assert kept(body, content_type) == content
        assert kept(b"preamble\r\n" + body + b"epilogue", content_type) == content


def test_a_form_without_one_file_is_told() -> None:
    body, content_type = form(a=("a", b"1"))
    with pytest.raises(EarmarkError, match="holds no files: send one"):
        kept(body.replace(b'; filename="a"', b""), content_type)
    with pytest.raises(EarmarkError, match="holds 2 files: send one"):
        kept(*form(note="text", a=("a", b"1"), b=("b", b"2")))


@budget(200)
@given(data=st.data())
def test_no_form_breaks_it(data: st.DataObject) -> None:
    body, content_type = form(note="text", file=("a.wav", b"sound"))
    at = data.draw(st.integers(0, len(body)))
    body = body[:at] + data.draw(st.binary(max_size=5)) + body[at + data.draw(st.integers(0, 50)) :]
    content_type = data.draw(st.sampled_from([content_type, "multipart/form-data", 'multipart/form-data; boundary=""']))
    with suppress(EarmarkError):
        assert len(kept(body, content_type)) <= len(body)


@pytest.mark.parametrize("kind", ["", "audio/wav", "application/octet-stream", "multipart/mixed; boundary=a"])
def test_other_bodies_are_no_forms(kind: str) -> None:
    assert not is_form(kind)
