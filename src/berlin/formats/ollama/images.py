"""Images of Ollama's API: plain base64, so the media type is found from their first bytes."""

from __future__ import annotations

from berlin.errors import InvalidRequestError
from berlin.wire.data_urls import clean_base64, make_data_url, media_type_of, parse_data_url


def encode_image(url: str, param: str) -> str:
    """Return the base64 in a URL.

    Raises:
        InvalidRequestError: if the URL does not contain the image itself.
    """
    data = parse_data_url(url)
    if data is None:
        raise InvalidRequestError.about(
            param, "this service takes images only as data:image/…;base64,… URLs"
        )
    return data.base64


def decode_image(given: str, param: str) -> str:
    """Return the URL that contains an image; some programs send a whole `data:` URL.

    Raises:
        InvalidRequestError: if it is not base64, or of an unknown media type.
    """
    whole = parse_data_url(given)
    data = whole.base64 if whole is not None else clean_base64(given)
    kind = media_type_of(data)
    if not kind.startswith("image/"):
        raise InvalidRequestError.about(param, "must be the base64 of a PNG, JPEG, GIF or WebP")
    return make_data_url(kind, data)
