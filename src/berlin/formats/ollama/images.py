"""Images of Ollama's API: base64 and nothing else, so their first bytes tell the media type."""

from __future__ import annotations

from berlin.errors import InvalidRequestError
from berlin.formats.data_urls import clean_base64, make_data_url, media_type_of, parse_data_url


def encode_image(url: str, param: str) -> str:
    """Return the base64 in a URL.

    Raises:
        InvalidRequestError: if the URL does not hold the image itself.
    """
    data = parse_data_url(url)
    if data is None:
        raise InvalidRequestError.about(
            param, "this service takes images only as data:image/…;base64,… URLs"
        )
    return data.base64


def decode_image(given: str, param: str) -> str:
    """Return the URL that holds an image; some programs send a whole `data:` URL.

    Raises:
        InvalidRequestError: if it is no base64, or of a media type that is not known.
    """
    whole = parse_data_url(given)
    data = whole.base64 if whole is not None else clean_base64(given)
    kind = media_type_of(data)
    if not kind.startswith("image/"):
        raise InvalidRequestError.about(param, "must be the base64 of a PNG, JPEG, GIF or WebP")
    return make_data_url(kind, data)
