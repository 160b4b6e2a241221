"""When a recording began, by its file's name, as recorders give it.

Known are names that hold a date and a time of day: AudioMoth's `20240131_054500.WAV`, with anything in front, as other
recorders have it; ISO 8601, with any signs in between, such as `2024-01-31T05-45-00`; and BirdNET-Pi's
`2024-01-31-birdnet-05:45:00.wav`. The clock is the recorder's, so the times have a time zone only where the name has
one. AudioMoth's older names are the seconds since 1970 in eight hexadecimal digits, `5E8F3C10.WAV`, in UTC (its user
guide, 2019); a name of digits alone isn't taken for one, as it may be any number.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

_DATE_AND_TIME = re.compile(
    r"(?<!\d)((?:19|20)\d\d)([-_.]?)(\d\d)\2(\d\d)"
    r"(?:[T _-]{1,3}|-birdnet-(?:RTSP_\d+-)?)"
    r"([01]\d|2[0-3])([-_:.h]?)([0-5]\d)(?:\6|[:m])([0-5]\d)(?:[.,](\d{1,6}))?(?!\d)"
    r"(?:(Z)(?![A-Za-z])|([+-])([01]\d):?([0-5]\d)(?!\d))?",
    re.ASCII,
)
_SECONDS = re.compile(r"[0-9A-F]{8}\.WAV")
_AUDIOMOTH = range(0x58684680, 0x7A4C2B00)  # 2017, when the first one came, to 2034


def began(name: str) -> datetime | None:
    """When a recording of that name began; None if the name doesn't tell.

    Args:
        name: a path or an address; only its last part counts.
    """
    file = re.split(r"[/\\]", name)[-1]
    if found := _DATE_AND_TIME.search(file):
        return _as_time(found)
    if _SECONDS.fullmatch(file) and not file[:8].isdecimal() and (seconds := int(file[:8], 16)) in _AUDIOMOTH:
        return datetime.fromtimestamp(seconds, timezone.utc)
    return None


def clock_time(name: str, seconds: float) -> str | None:
    """The time of day that many seconds after a recording began, in ISO 8601, to the millisecond; None if unknown."""
    start = began(name)
    try:
        at = None if start is None else start + timedelta(seconds=round(seconds, 3))
        return None if at is None else at.isoformat(timespec="milliseconds")
    except OverflowError:
        return None


def _as_time(found: re.Match[str]) -> datetime | None:
    year, month, day, hour, minute, second = (int(found[group]) for group in (1, 3, 4, 5, 7, 8))
    zone = timezone.utc if found[10] else None
    if found[11]:
        ahead = timedelta(hours=int(found[12]), minutes=int(found[13]))
        zone = timezone(ahead if found[11] == "+" else -ahead)
    try:
        return datetime(year, month, day, hour, minute, second, int((found[9] or "0").ljust(6, "0")), zone)
    except ValueError:  # the 31st of February
        return None
