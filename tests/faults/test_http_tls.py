"""Faults of HTTP, part 5: TLS, whose checks cannot be switched off."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from berlin import Timeouts, errors
from support.fault_play import ask, causes, open_berlin
from support.fault_server import FaultServer
from support.fault_steps import Script, answer, line, stream

GOOD = stream(line("a"))
LONG_AGO = datetime.now(UTC) - timedelta(days=30)


async def test_H40_trusted_certificate(
    server_tls: Callable[..., ssl.SSLContext], ca_file: str
) -> None:
    """With the right authority and the right name there is an answer: the tests below can fail."""
    async with (
        FaultServer(GOOD, tls=server_tls()) as server,
        open_berlin(server.url, ca_file=ca_file) as berlin,
    ):
        assert (await ask(berlin)).text == "a"


async def test_H40_certificate_of_an_unknown_authority(
    server_tls: Callable[..., ssl.SSLContext],
) -> None:
    """A certificate that nobody vouches for is an error; nothing is sent, nothing tried again."""
    async with (
        FaultServer(GOOD, tls=server_tls()) as server,
        open_berlin(server.url) as berlin,
    ):
        seen = await ask(berlin)
        assert server.url in seen.failed_with(errors.TLSError)
        assert server.requests == []
        assert any(isinstance(one, ssl.SSLCertVerificationError) for one in causes(seen.error))


async def test_H40_certificate_of_another_authority(
    server_tls: Callable[..., ssl.SSLContext], tmp_path: object
) -> None:
    """Trusting one authority is not trusting another."""
    path = f"{tmp_path}/other.pem"
    trustme.CA(key_type=trustme.KeyType.ECDSA).cert_pem.write_to_path(path)
    async with (
        FaultServer(GOOD, tls=server_tls()) as server,
        open_berlin(server.url, ca_file=path) as berlin,
    ):
        (await ask(berlin)).failed_with(errors.TLSError)
        assert server.requests == []


@pytest.mark.parametrize(
    ("names", "cert"),
    [
        (("other.example",), {}),
        (("127.0.0.2",), {}),
        (("127.0.0.1",), {"not_after": LONG_AGO}),
        (("127.0.0.1",), {"not_before": LONG_AGO + timedelta(days=60)}),
    ],
    ids=["other name", "other address", "expired", "not yet valid"],
)
async def test_H41_certificate_for_another_name_or_expired(
    names: tuple[str, ...],
    cert: dict[str, datetime],
    server_tls: Callable[..., ssl.SSLContext],
    ca_file: str,
) -> None:
    """A certificate for somebody else, or for another time, is an error; nothing is sent."""
    async with (
        FaultServer(GOOD, tls=server_tls(*names, **cert)) as server,
        open_berlin(server.url, ca_file=ca_file) as berlin,
    ):
        assert server.url in (await ask(berlin)).failed_with(errors.TLSError)
        assert server.requests == []


@pytest.mark.parametrize(
    ("greeting", "kind"),
    [
        (answer("400 Bad Request", b"this is not HTTP"), errors.TLSError),
        ((), errors.UpstreamTimeoutError),
    ],
    ids=["answers", "waits"],
)
async def test_H42_tls_with_a_server_that_speaks_plain_http(
    greeting: Script, kind: type[errors.BerlinError], ca_file: str
) -> None:
    """Https to a port of plain HTTP fails by its answer, or at the limit; there is no fallback."""
    limits = Timeouts(connect=1, first_event=8, idle=8, total=10)
    async with FaultServer(GOOD, greeting=greeting) as server:
        url = server.url.replace("http://", "https://")
        async with open_berlin(url, limits, ca_file=ca_file) as berlin:
            (await ask(berlin)).failed_with(kind)
        assert server.requests == []
        assert len(server.connections) == 1


async def test_H42_plain_http_to_a_tls_port(server_tls: Callable[..., ssl.SSLContext]) -> None:
    """Plain HTTP to a port that speaks TLS is a broken connection."""
    async with FaultServer(GOOD, tls=server_tls()) as server:
        url = server.url.replace("https://", "http://")
        async with open_berlin(url) as berlin:
            seen = await ask(berlin)
        seen.failed_with(errors.ConnectionLostError)
        assert server.requests == []
