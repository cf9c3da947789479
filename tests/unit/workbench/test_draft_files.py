"""A HAR file whose requests upload files: they are left out of a draft, and alter nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from berlin.language.backwards import decode_multipart
from berlin.language.values.form import File, encode_multipart
from berlin.workbench.draft.sources.captured import Captured
from berlin.workbench.draft.sources.har import read_har

PNG = b'\x89PNG\r\n\x1a\n\x00--\xff\r\n\r\nname="q"; filename="x"' * 50
BODY = (
    b'--B\r\nContent-Disposition: form-data; name="q"\r\n\r\nHello\r\n'
    b'--B\r\nContent-Disposition: form-data; filename="a.png"; name="image"\r\n'
    b"Content-Type: image/png\r\n\r\n" + PNG + b"\r\n--B--\r\n"
)
FORM = "multipart/form-data; boundary=B"


def captured(posted: dict[str, Any]) -> Captured:
    """Return the one request of a HAR file."""
    request = {"method": "POST", "url": "https://a.example/chat", "postData": posted}
    exchanges = read_har(json.dumps({"log": {"entries": [{"request": request}]}}).encode())
    return exchanges[0].request


@pytest.mark.parametrize(
    "posted",
    [
        {"mimeType": FORM, "text": BODY.decode("latin-1")},
        {"mimeType": FORM, "text": BODY.decode("utf-8", "replace")},
        {
            "mimeType": FORM,
            "params": [
                {"name": "q", "value": "Hello"},
                {"name": "image", "fileName": "a.png", "value": PNG.decode("latin-1")},
            ],
        },
    ],
    ids=["bytes as text", "replaced", "fields"],
)
def test_an_upload_is_left_out(posted: dict[str, Any]) -> None:
    """The text fields are those of the form; a file is named, and none of its bytes is read."""
    request = captured(posted)
    assert request.document() == ("multipart", {"q": "Hello"})
    assert request.file_fields() == ("image",)


def test_a_file_is_read_back_as_bytes() -> None:
    """The parts of a body are what was put into it, whatever is in a file or a name."""
    fields = {"q": "x\r\ny", 'a"\r\n\0\\': "1", "f": File('b"; name="q.png', "image/png", PNG)}
    read = decode_multipart(*encode_multipart(fields))
    assert read == fields
