"""The table `[chat.socket]`, and the protocols: what is sent for what comes."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest

from berlin import errors
from berlin.language.tables.socket import CompiledSocket, Dialog, SocketMap
from berlin.wire.sockets import PROTOCOLS


def dialog(**described: Any) -> Dialog:
    socket = CompiledSocket(msgspec.convert(described, SocketMap), {"prompt", "id"})
    values = {"prompt": "Hi", "id": "7"}
    return Dialog(socket, values, lambda values: {"q": values["prompt"], "h": values.get("h")})


def test_json_with_steps_and_replies() -> None:
    """The question waits for the messages before it; other answers on the socket are left out."""
    talk = dialog(
        before=[{"when": {"/m": "go"}, "take": {"h": "/h"}, "send": {"ok": "{h}"}}],
        replies=[{"when": {"/m": "ping"}, "send": {"m": "pong"}}],
        only={"/id": "{id}"},
        last={"m": "bye"},
    )
    assert talk.begin() == []
    assert talk.receive('{"m":"wait"}') == (b"", [])
    assert talk.receive('{"m":"go","h":"x"}') == (b"", ['{"ok":"x"}', '{"q":"Hi","h":"x"}'])
    assert talk.receive('{"m":"ping"}') == (b'{"m":"ping"}\n', ['{"m":"pong"}'])
    assert talk.receive('{"id":"8","t":"no"}') == (b"", [])
    assert talk.receive('{"id":7,\n"t":"yes"}') == (b'{"id":7,"t":"yes"}\n', [])
    assert talk.receive('[{"t":1},{"t":2}]')[0] == b'{"t":1}\n{"t":2}\n'
    assert talk.end() == ['{"m":"bye"}']


def test_socket_io() -> None:
    """The handshake, the service's pings and requests for an acknowledgement are answered."""
    talk = dialog(protocol="socket.io", auth={"id": "{id}"})
    assert talk.receive('0{"sid":"s"}') == (b"", ['40{"id":"7"}'])
    assert talk.receive('40{"sid":"t"}') == (b"", ['42["message"]'])
    assert talk.receive("2") == (b"", ["3"])
    assert talk.receive('42["tok",{"t":"a"},2]')[0] == (
        b'{"event":"tok","data":{"t":"a"},"args":[{"t":"a"},2]}\n'
    )
    assert talk.receive('421["need",1]')[1] == ["431[]"]
    assert talk.receive('43["ack"]') == (b"", [])
    with pytest.raises(errors.AuthenticationError, match="not you"):
        talk.receive('44{"message":"not you"}')


def test_signalr() -> None:
    """Messages end with a separator, wherever the frames are cut, and pings are answered."""
    talk = dialog(protocol="signalr")
    assert talk.begin() == ['{"protocol":"json","version":1}\x1e']
    assert talk.receive("{}\x1e")[1] == ['{"type":1,"q":"Hi","h":null}\x1e']
    assert talk.receive('{"type":1,"targ') == (b"", [])
    assert talk.receive('et":"t"}\x1e{"type":6}\x1e') == (
        b'{"type":1,"target":"t"}\n',
        ['{"type":6}\x1e'],
    )
    with pytest.raises(errors.ConnectionLostError, match="going down"):
        talk.receive('{"type":7,"error":"going down"}\x1e')


def test_graphql() -> None:
    """The subscription is sent once the service has acknowledged the connection."""
    talk = dialog(protocol="graphql")
    assert talk.begin() == ['{"type":"connection_init"}']
    assert talk.receive('{"type":"connection_ack"}')[1] == [
        '{"id":"1","type":"subscribe","payload":{"q":"Hi","h":null}}'
    ]
    assert talk.receive('{"type":"ping"}') == (b"", ['{"type":"pong"}'])
    assert talk.receive('{"id":"1","type":"next"}')[0] == b'{"id":"1","type":"next"}\n'


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "frame",
    [
        "",
        "{",
        "[1]",
        "null",
        "7",
        "42",
        '42{"a":1}',
        "42[]",
        "9x",
        "\x1e",
        "{}\x1e[]\x1e",
        "4",
        "0",
    ],
)
def test_s20_frames_that_make_no_sense(protocol: str, frame: str) -> None:
    """Whatever a frame holds, it is taken, or a typed error."""
    talk = dialog(protocol=protocol)
    talk.begin()
    for _ in range(2):
        with contextlib.suppress(errors.BerlinError):
            talk.receive(frame)


@pytest.mark.parametrize(
    "described",
    [
        {"protocol": "stomp"},
        {"auth": {"a": 1}},
        {"before": [{}]},
        {"before": [{"take": {"a": "/a"}, "send": {}}]},
        {"replies": [{"when": {}, "send": {}}]},
        {"close_codes": {"99": "unavailable"}},
        {"close_codes": {"4000": "odd"}},
        {"subprotocols": ["a b"]},
        {"last": "x"},
    ],
)
def test_d01_sockets_that_cannot_be_right(described: dict[str, Any]) -> None:
    """Wrong keys and values are mistakes of the recipe."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(described, SocketMap)


@pytest.mark.parametrize(
    ("described", "said"),
    [
        ({"only": {"/id": "{nobody}"}}, "unknown placeholder"),
        ({"only": {"id": "x"}}, "not a JSON Pointer"),
        ({"before": [{"when": {"/a": {}}, "send": {}}]}, "a value is text, a number"),
        ({"replies": [{"when": {"a": 1}, "send": {}}]}, "not a JSON Pointer"),
    ],
)
def test_d01_sockets_with_wrong_parts(described: dict[str, Any], said: str) -> None:
    """Wrong pointers and placeholders are mistakes of the recipe."""
    with pytest.raises(errors.ConfigurationError, match=said):
        dialog(**described)
