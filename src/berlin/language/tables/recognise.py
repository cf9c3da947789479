"""The table `[recognise]` of a recipe: which unauthenticated answers identify the service."""

from __future__ import annotations

from typing import Literal

import msgspec

from berlin.types import HttpResponse
from berlin.wire.json import decoded_or_none
from berlin.wire.pointer import MISSING, check_pointers, get_at, parse_pointer

ANY = "*"


class Sign(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[[recognise.signs]]`: an answer that identifies the service. Every condition it names must
    hold.

    Attributes:
        path: what is requested with GET, below the root of the service.
        status: the HTTP statuses that the answer may have.
        json: pointers into the answer, and the value expected at each; `"*"` is any value.
        text: what the body contains.
        headers: names of headers, and what the value of each contains.
        login: whether such an answer shows that a login is required, or that none is.
    """

    path: str
    status: tuple[int, ...] = (200,)
    json: dict[str, str | int | bool] = {}
    text: str = ""
    headers: dict[str, str] = {}
    login: bool | None = None

    def __post_init__(self) -> None:
        if not self.path.startswith("/"):
            raise ValueError("the path of a sign must begin with '/'")
        if not (self.json or self.text or self.headers):
            raise ValueError("a sign needs json, text or headers: a status alone proves nothing")
        check_pointers(*self.json)

    def proof(self, answer: HttpResponse) -> str | None:
        """Return in words what in an answer identifies the service, or `None` if it does not."""
        if answer.status not in self.status:
            return None
        said: list[str] = []
        for name, part in self.headers.items():
            if part.lower() not in answer.headers.get(name.lower(), "").lower():
                return None
            said.append(f"the header {name}: {part}")
        if self.text:
            if self.text.encode() not in answer.body:
                return None
            said.append(repr(self.text))
        if self.json:
            document = decoded_or_none(answer.body)
            for pointer, wanted in self.json.items():
                found = get_at(document, parse_pointer(pointer))
                if found is MISSING or (wanted != ANY and found != wanted):
                    return None
                said.append(f"{pointer} = {found}" if wanted != ANY else pointer)
        return f"GET {self.path} answers {answer.status} with {', '.join(said)}"


class RecogniseMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[recognise]`: how `berlin add URL` finds that this recipe fits.

    Only GET requests without credentials are sent.

    Attributes:
        below: what the recipe's URL has after the root of the service, such as `/v1`.
        kind: `service`: the program itself is identified. `dialect`: only its protocol; that counts
            if no service was identified.
        signs: answers, any one of which is enough.
    """

    below: str = ""
    kind: Literal["service", "dialect"] = "service"
    signs: list[Sign] = []

    def __post_init__(self) -> None:
        if self.below and (not self.below.startswith("/") or self.below.endswith("/")):
            raise ValueError("below must look like '/v1'")
