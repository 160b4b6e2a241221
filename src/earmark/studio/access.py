"""Who may use a studio that is open to the network: codes that let one device in each, and the devices they let in.

A code is for one sign-in. Whoever has it becomes a device, known by a secret that its browser keeps in a cookie. Both
are compared in constant time, and the secrets are held as hashes. All of it ends with the studio.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from earmark.errors import EarmarkError

# Without I, L, O and U, which are taken for others: Crockford's base 32. Twelve of them are 60 bits.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_CHARACTERS, GROUP = 12, 4
MISREAD = str.maketrans("ILO", "110")
MOST_DEVICES = 20
UNUSED_SECONDS = 24 * 3600.0  # after which a device must sign in again
TRIES, TRY_SECONDS = 5, 60.0  # wrong codes from one address within that time
MOST_ADDRESSES = 1_000  # whose tries are remembered


class TooManyTriesError(EarmarkError):
    """An address has tried too many wrong codes."""


@dataclass
class Device:
    """A browser that has signed in.

    Attributes:
        id: by which the page names it.
        name: what it says that it is.
        address: from where it signed in.
        signed_in: when, in seconds since 1970.
        used: when it last asked for something, on the monotonic clock, which no change of the time moves.
        ended: set when it may ask no more.
    """

    id: str
    name: str
    address: str
    signed_in: float
    used: float
    secret_hash: bytes = field(repr=False)
    ended: asyncio.Event = field(default_factory=asyncio.Event, repr=False)


class Access:
    """The codes and devices of one studio.

    Args:
        clock: monotonic seconds.

    Attributes:
        code: that lets the next device in.
        watchers: called when a device has signed in or out or the code is another one, with what happened in a
            sentence.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.watchers: list[Callable[[str], object]] = []
        self._devices: list[Device] = []
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()
        self.code = _new_code()

    def devices(self) -> list[Device]:
        """Those that are signed in, the last one first."""
        now = self._clock()
        for device in [device for device in self._devices if now - device.used > UNUSED_SECONDS]:
            self._end(device, "was signed out, as it had not been used for a day")
        return self._devices[::-1]

    def renew_code(self) -> None:
        """Make another code; the old one lets nobody in any more."""
        self.code = _new_code()
        self._tell("There is a new code; the old one is void.")

    def sign_in(self, code: str, address: str, agent: str) -> str:
        """Let a device in by the code, which is used up by that.

        Args:
            code: as somebody typed it.
            address: from where.
            agent: its browser's `User-Agent`.

        Returns:
            The device's secret.

        Raises:
            TooManyTriesError: too many wrong ones came from that address within a minute.
            EarmarkError: it is wrong or used up, or there are too many devices.
        """
        now = self._clock()
        wrong = self._tries(address, now)
        if len(wrong) >= TRIES:
            raise TooManyTriesError("Too many wrong codes: wait a minute, then try again.")
        if not hmac.compare_digest(_digest(_as_code(code)), _digest(_as_code(self.code))):
            wrong.append(now)
            raise EarmarkError("That code is wrong or was used already: take the one that the studio shows now.")
        if len(self.devices()) >= MOST_DEVICES:
            raise EarmarkError(f"{MOST_DEVICES} devices are signed in already: end one of them in the studio first.")
        secret = secrets.token_urlsafe(32)
        device = Device(secrets.token_hex(8), describe_agent(agent), address, time.time(), now, _digest(secret))
        self._devices.append(device)
        self.code = _new_code()
        self._tell(f"{device.name} at {address} signed in.")
        return secret

    def device(self, secret: str) -> Device | None:
        """Whose secret it is, if it is anybody's; it counts as used now."""
        digest, found = _digest(secret), None
        for device in self.devices():
            if hmac.compare_digest(device.secret_hash, digest):
                found = device
        if found is not None:
            self.use(found)
        return found

    def use(self, device: Device) -> None:
        """Note that a device asks for something, or sends sound."""
        device.used = self._clock()

    def revoke(self, identity: str) -> None:
        """Sign a device out: it may ask no more, and its connections end.

        Raises:
            EarmarkError: there is none.
        """
        for device in self._devices:
            if device.id == identity:
                self._end(device, "was signed out")
                return
        raise EarmarkError("That device isn't signed in any more: look again.")

    def _end(self, device: Device, how: str) -> None:
        self._devices.remove(device)
        device.ended.set()
        self._tell(f"{device.name} at {device.address} {how}.")

    def _tell(self, what: str) -> None:
        for watcher in self.watchers:
            with suppress(OSError, ValueError):  # a terminal that is gone, or can't show a name, keeps nobody out
                watcher(what)

    def _tries(self, address: str, now: float) -> deque[float]:
        tries = self._wrong.setdefault(address, deque(maxlen=TRIES))
        self._wrong.move_to_end(address)
        if len(self._wrong) > MOST_ADDRESSES:
            self._wrong.popitem(last=False)
        while tries and now - tries[0] > TRY_SECONDS:
            tries.popleft()
        return tries


def describe_agent(agent: str) -> str:
    """What a browser says that it runs on, in a word or two."""
    known = ("iPhone", "iPad", "Android", "Windows", "Macintosh", "CrOS", "Linux")
    system = next((name for name in known if name in agent), "A device")
    model = re.search(r"Android [^;)]*; ([\w .-]{2,30})(?: Build|[;)])", agent)
    named = model[1] if model and len(model[1]) > 1 else system
    return {"Macintosh": "Mac", "CrOS": "Chromebook"}.get(named, named)


def _new_code() -> str:
    characters = "".join(secrets.choice(ALPHABET) for _ in range(CODE_CHARACTERS))
    return "-".join(characters[at : at + GROUP] for at in range(0, CODE_CHARACTERS, GROUP))


def _as_code(typed: str) -> str:
    """A code as it was meant: whatever case, dashes and spaces, and O for 0."""
    return re.sub(r"[\s-]", "", typed).upper().translate(MISREAD)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="replace")).digest()
