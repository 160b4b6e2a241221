"""Who may use a studio that is open to the network: sign-in codes, and the devices that have signed in.

A code is good for one sign-in. It makes a browser a device, identified by a secret that the browser keeps in a cookie.
Codes and secrets are compared in constant time, and secrets are held as hashes. All of this ends with the studio.
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

# Crockford's base 32, which has no I, L, O or U, as they are easily misread. Twelve characters are 60 bits.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_CHARACTERS, GROUP = 12, 4
MISREAD = str.maketrans("ILO", "110")
MOST_DEVICES = 20
UNUSED_SECONDS = 24 * 3600.0  # a device that was idle for longer must sign in again
TRIES, TRY_SECONDS = 5, 60.0  # the most wrong codes from one address within this time
MOST_ADDRESSES = 1_000  # the most addresses whose tries are remembered


class TooManyTriesError(EarmarkError):
    """An address has tried too many wrong codes."""


@dataclass
class Device:
    """A browser that has signed in.

    Attributes:
        id: identifies the device to the page.
        name: the kind of device, according to its browser.
        address: the IP address from which it signed in.
        signed_in: when it signed in, in seconds since 1970.
        used: when it last sent a request or sound, on the monotonic clock, which changes of the system time don't move.
        ended: set when the device has been signed out.
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
        clock: returns monotonic time in seconds.

    Attributes:
        code: the code for the next sign-in.
        watchers: called with a sentence on what happened, when a device has signed in or out or the code was renewed.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.watchers: list[Callable[[str], object]] = []
        self._devices: list[Device] = []
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()
        self.code = _new_code()

    def devices(self) -> list[Device]:
        """The devices that are signed in, the latest first. Those idle for a day are signed out first."""
        now = self._clock()
        for device in [device for device in self._devices if now - device.used > UNUSED_SECONDS]:
            self._end(device, "was signed out, as it had not been used for a day")
        return self._devices[::-1]

    def renew_code(self) -> None:
        """Make a new code. The old one is void."""
        self.code = _new_code()
        self._tell("There is a new code; the old one is void.")

    def sign_in(self, code: str, address: str, agent: str) -> str:
        """Sign a device in with the code, which is used up by this.

        Args:
            code: the code as it was typed.
            address: the device's IP address.
            agent: its browser's `User-Agent`.

        Returns:
            The device's secret.

        Raises:
            TooManyTriesError: too many wrong codes came from this address within a minute.
            EarmarkError: the code is wrong or used up, or there are too many devices.
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
        """Find the device with this secret, if there is one. It counts as used now."""
        digest, found = _digest(secret), None
        for device in self.devices():
            if hmac.compare_digest(device.secret_hash, digest):
                found = device
        if found is not None:
            self.use(found)
        return found

    def use(self, device: Device) -> None:
        """Note that a device has just sent a request or sound."""
        device.used = self._clock()

    def revoke(self, identity: str) -> None:
        """Sign a device out. Its requests are refused from now on, and its connections end.

        Raises:
            EarmarkError: no such device is signed in.
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
            with suppress(OSError, ValueError):  # a terminal that is closed or can't show a name keeps nobody out
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
    """The kind of device that a browser says it runs on, in a word or two."""
    known = ("iPhone", "iPad", "Android", "Windows", "Macintosh", "CrOS", "Linux")
    system = next((name for name in known if name in agent), "A device")
    model = re.search(r"Android [^;)]*; ([\w .-]{2,30})(?: Build|[;)])", agent)
    named = model[1] if model and len(model[1]) > 1 else system
    return {"Macintosh": "Mac", "CrOS": "Chromebook"}.get(named, named)


def _new_code() -> str:
    characters = "".join(secrets.choice(ALPHABET) for _ in range(CODE_CHARACTERS))
    return "-".join(characters[at : at + GROUP] for at in range(0, CODE_CHARACTERS, GROUP))


def _as_code(typed: str) -> str:
    """Normalize a typed code: case, dashes and spaces don't matter, nor do I, L and O for 1 and 0."""
    return re.sub(r"[\s-]", "", typed).upper().translate(MISREAD)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="replace")).digest()
