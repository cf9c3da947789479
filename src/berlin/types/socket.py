"""The dialog on a WebSocket, as a value that a request carries: no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from berlin.errors import BerlinError


class SocketDialog(Protocol):
    """One conversation on one WebSocket, from the client's side.

    Attributes:
        subprotocols: those that the handshake offers.
    """

    subprotocols: tuple[str, ...]

    def begin(self) -> list[str]:
        """Return the frames to send once the socket is open. Raises BerlinError."""
        ...

    def receive(self, frame: str) -> tuple[bytes, list[str]]:
        """Take a frame.

        Returns:
            lines of JSON for the answer, and frames to send back.

        Raises:
            BerlinError: if the service ends the conversation, or the frame is not as described.
        """
        ...

    def question_with(self, values: Mapping[str, Any]) -> Any:
        """Return the message with the question, for display.

        Args:
            values: the placeholders' values, including those from earlier messages.
        """
        ...

    def closed(self, code: int, reason: str) -> BerlinError | None:
        """Return the error for a socket closed by the service; `None` for an orderly end."""
        ...

    def end(self) -> list[str]:
        """Return the frames to send before the client closes the socket."""
        ...
