"""The only HTTP client. aiohttp's errors are translated here and nowhere else."""

from berlin.transport.client import Transport
from berlin.transport.response import Response
from berlin.transport.sender import Answer, Sender

__all__ = ["Answer", "Response", "Sender", "Transport"]
