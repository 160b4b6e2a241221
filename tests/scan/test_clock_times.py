"""When recordings began, by their names; the expected times are read off by hand."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from earmark.scan.clock_times import began, clock_time
from tests.budget import budget


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("20240131_054500.WAV", "2024-01-31T05:45:01.250"),  # AudioMoth
        ("20240131_054500T.WAV", "2024-01-31T05:45:01.250"),  # AudioMoth, triggered
        ("card/24F319055FDF8E3A_20240131_054500.WAV", "2024-01-31T05:45:01.250"),
        ("SM4-A_20240131_235959.wav", "2024-02-01T00:00:00.250"),  # Song Meter; the next day
        ("2024-01-31-birdnet-05:45:00.wav", "2024-01-31T05:45:01.250"),  # BirdNET-Pi
        ("2024-01-31-birdnet-RTSP_1-05:45:00.wav", "2024-01-31T05:45:01.250"),
        ("2024-02-29T05:45:00.flac", "2024-02-29T05:45:01.250"),  # ISO 8601
        ("2024-01-31T05-45-00-k3f9.flac", "2024-01-31T05:45:01.250"),  # this package's own
        ("20240131T054500Z.flac", "2024-01-31T05:45:01.250+00:00"),
        ("2024-01-31T05:45:00+0530.wav", "2024-01-31T05:45:01.250+05:30"),
        ("2024-01-31 05.45.00.5.wav", "2024-01-31T05:45:01.750"),
        ("s3://bucket/2023-01-01T00:00:00/20240131_054500.wav", "2024-01-31T05:45:01.250"),
        ("5E3F3C10.WAV", "2020-02-08T22:54:09.250+00:00"),  # AudioMoth's older names; date -u -d @$((0x5E3F3C10))
        ("20230231_054500.wav", None),  # no such day
        ("20240131_254500.wav", None),
        ("20240131.WAV", None),
        ("60123456.WAV", None),  # may be any number
        ("5e3f3c10.wav", None),
        ("0a7c2a8d_nohash_0.wav", None),
        ("120240131_0545001.wav", None),
        ("take 1.wav", None),
    ],
)
def test_a_name_tells_when_a_detection_was(name: str, time: str | None) -> None:
    assert clock_time(name, 1.25) == time


@budget(100)
@given(name=st.text("0123456789TZ:_.+- ABF", max_size=30).map("{}.WAV".format), seconds=st.floats(0, 1e12))
@example(name="99991231T235959.wav", seconds=1e12)
@example(name="19991231T235959.wav", seconds=1e12)
def test_no_name_breaks_it(name: str, seconds: float) -> None:
    time = clock_time(name, seconds)
    assert time is None or began(name) is not None
