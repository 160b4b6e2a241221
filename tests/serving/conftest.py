"""What the server's tests share with the studio's: the pretrained words, and speech to recognize with them."""

from __future__ import annotations

from tests.studio.conftest import speech, words

__all__ = ["speech", "words"]
