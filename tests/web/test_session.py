"""A live session: who is let in, why it ends, what is counted, and what is held afterwards."""

from __future__ import annotations

import asyncio
import gc
import json
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from starlette.websockets import WebSocket

from earmark.web.metrics import Metrics
from earmark.web.session import Drop, LiveSession, ProtocolError, Sessions

Work = Callable[[LiveSession], Awaitable[None]]


class Client:
    """A connection in memory.

    Attributes:
        sent: what came of the server, but for the acceptance.
    """

    def __init__(self, *messages: dict[str, Any]) -> None:
        self._messages = iter(({"type": "websocket.connect"}, *messages))
        self.sent: list[dict[str, Any]] = []
        self.websocket = WebSocket({"type": "websocket", "path": "/", "headers": []}, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        message = next(self._messages, None)
        if message is None:
            await asyncio.Event().wait()
        assert message is not None
        return message

    async def _send(self, message: Any) -> None:
        if message["type"] != "websocket.accept":
            self.sent.append(dict(message))


class Quiet(LiveSession):
    """A session that does one thing."""

    def __init__(self, sessions: Sessions[Any], websocket: WebSocket, work: Work) -> None:
        super().__init__(sessions, websocket)
        self._do = work

    def parts(self) -> list[Coroutine[Any, Any, None]]:
        async def rest() -> None:
            await asyncio.Event().wait()

        async def do() -> None:
            await self._do(self)

        return [do(), rest()]


class Telling(Quiet):
    """One that tells its reason by a message, too."""

    tells_why = True


def sessions(most: int = 1) -> Sessions[LiveSession]:
    return Sessions(Metrics(), most, "All places are taken.")


def counted(those: Sessions[LiveSession]) -> dict[str, float]:
    lines = bytes(those.metrics.response().body).decode().splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if line.startswith("earmark_streams") and "created" not in line)
    return {name.removeprefix("earmark_streams_"): float(value) for name, value in values.items()}


async def break_protocol(_: LiveSession) -> None:
    raise ProtocolError("That isn't known.")


async def fail(_: LiveSession) -> None:
    raise ZeroDivisionError("Oh.")


async def wait(session: LiveSession) -> None:
    await session.receive()


async def be_dropped(session: LiveSession) -> None:
    session.drop(Drop.SLOW, "It doesn't read.")
    session.drop(Drop.IDLE, "It doesn't speak.")  # too late
    await asyncio.Event().wait()


@pytest.mark.parametrize("kind", [Quiet, Telling])
@pytest.mark.parametrize(
    ("work", "label", "code", "reason"),
    [
        (break_protocol, "protocol", 1008, "That isn't known."),
        (be_dropped, "slow", 1013, "It doesn't read."),
        (fail, "failed", 1011, "The server met an error of its own."),
    ],
)
def test_it_closes_with_its_reason_and_is_counted(
    kind: type[Quiet], work: Work, label: str, code: int, reason: str
) -> None:
    those, client = sessions(), Client()

    async def serve() -> None:
        await kind(those, client.websocket, work).run()

    if work is fail:
        with pytest.raises(ZeroDivisionError):  # for the terminal
            asyncio.run(serve())
    else:
        asyncio.run(serve())
    *told, closed = client.sent
    assert (closed["type"], closed["code"], closed["reason"]) == ("websocket.close", code, reason)
    messages = [json.loads(message["text"]) for message in told]
    assert messages == ([{"type": "error", "error": reason}] if kind is Telling else [])
    assert counted(those) == {"open": 0, "total": 1, f'dropped_total{{reason="{label}"}}': 1}


def test_who_goes_is_not_closed_and_not_counted_as_dropped() -> None:
    those, client = sessions(), Client({"type": "websocket.disconnect", "code": 1001})
    asyncio.run(Quiet(those, client.websocket, wait).run())
    assert client.sent == []
    assert counted(those) == {"open": 0, "total": 1}


def test_more_than_there_is_room_for_are_refused() -> None:
    those, client, late = sessions(), Client(), Client()

    async def serve() -> None:
        first = asyncio.create_task(Quiet(those, client.websocket, wait).run())
        while not those:
            await asyncio.sleep(0)
        await Quiet(those, late.websocket, wait).run()
        assert counted(those)["open"] == len(those) == 1
        (session,) = those
        session.drop(Drop.STOPPED, "Enough.")
        await first

    asyncio.run(serve())
    assert [message["code"] for message in late.sent + client.sent] == [1013, 1001]
    assert late.sent[0]["reason"] == "All places are taken."
    assert counted(those) == {
        "open": 0, "total": 1, 'dropped_total{reason="full"}': 1, 'dropped_total{reason="stopped"}': 1,
    }  # fmt: skip


def test_a_long_reason_is_cut_where_the_closing_frame_ends() -> None:
    client, reason = Client(), "ü" * 100

    async def say_much(_: LiveSession) -> None:
        raise ProtocolError(reason)

    asyncio.run(Telling(sessions(), client.websocket, say_much).run())
    told, closed = client.sent
    assert json.loads(told["text"])["error"] == reason
    assert closed["reason"] == "ü" * 61  # 122 of 123 bytes


@pytest.mark.parametrize("work", [break_protocol, be_dropped])
def test_it_leaves_no_circle_behind(work: Work) -> None:
    those = sessions()

    async def serve() -> weakref.ref[LiveSession]:
        session = Quiet(those, Client().websocket, work)
        await session.run()
        return weakref.ref(session)

    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(serve())() is None
    finally:
        gc.enable()
