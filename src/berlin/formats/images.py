"""Images that only the service they were uploaded to knows."""

from __future__ import annotations

from berlin.errors import InvalidRequestError
from berlin.types import ImagePart


def check_image(part: ImagePart) -> None:
    """Raise InvalidRequestError if an image has no URL, only another dialect's id of a file."""
    if not part.url:
        raise InvalidRequestError.about(
            "content.source", "this service does not have that file; send the image itself"
        )
