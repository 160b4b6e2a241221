"""What the tests of both servers' common parts share with the studio's: the pretrained words."""

from __future__ import annotations

from tests.studio.conftest import words

__all__ = ["words"]
