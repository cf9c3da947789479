"""Finds the handler of a request by its path and method."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

from berlin.gateway.face import Face, Handler, Route

_ID = "{id}"
_ANY_ID = "{id:path}"


class Resource(NamedTuple):
    """A path of the gateway.

    Attributes:
        path: the path, or its template.
        face: whose dialect errors have.
        handlers: the handler of each method.
    """

    path: str
    face: Face
    handlers: dict[str, Handler]


class Dispatch:
    """All paths of all faces.

    A path may contain one `{id}`, a segment, or end in `{id:path}`, which may contain slashes.

    Args:
        faces: the faces; the last one also speaks where no path matches.
        more: further paths; their errors are those of the face with their prefix.
    """

    def __init__(self, faces: Iterable[Face], more: Iterable[Route]) -> None:
        self._faces = tuple(faces)
        self._exact: dict[str, Resource] = {}
        self._open: dict[str, Resource] = {}
        for route in (*chain.from_iterable(face.routes for face in self._faces), *more):
            self._add(route)

    def find(self, path: str) -> tuple[Resource, str]:
        """Return the resource of a path, and the `{id}` in it.

        Args:
            path: the decoded path, except that `%2F` and `%25` are still encoded.
        """
        found = self._exact.get(path)
        if found is not None:
            return found, ""
        for template, resource in self._open.items():
            id = _match(template, path)
            if id:
                return resource, id
        meant = _meant(path)
        if meant != path:
            return self.find(meant)
        return Resource(path, self._face_of(path), {}), ""

    def _add(self, route: Route) -> None:
        table = self._open if _ID in route.path or _ANY_ID in route.path else self._exact
        shown = route.path.replace(_ANY_ID, _ID)
        resource = table.setdefault(route.path, Resource(shown, self._face_of(shown), {}))
        resource.handlers[route.method] = route.handler
        if route.method == "GET":
            resource.handlers["HEAD"] = route.handler

    def _face_of(self, path: str) -> Face:
        # The last one also handles targets that are not paths (`*`).
        last = self._faces[-1]
        return next((face for face in self._faces if path.startswith(face.prefixes)), last)


def _meant(path: str) -> str:
    """Return the path below `/v1` that a client meant whose base URL ends in `/` or in `/v1`.

    Only those: what an administrator blocks by its path, such as `/metrics`, has no other name.
    """
    meant = _TOO_MANY_V1.sub("/v1/", _TOO_MANY_SLASHES.sub("/", path)).rstrip("/")
    return meant if meant.startswith("/v1/") else path


_TOO_MANY_SLASHES = re.compile("/{2,}")
_TOO_MANY_V1 = re.compile("^(?:/v1)+/")


def _match(template: str, path: str) -> str:
    """Return the decoded id in a path; `""` if the path does not match."""
    takes_slashes = template.endswith(_ANY_ID)
    before, _, after = template.partition(_ANY_ID if takes_slashes else _ID)
    if not (path.startswith(before) and path.endswith(after)):
        return ""
    id = path[len(before) : len(path) - len(after)]
    if "/" in id and not takes_slashes:
        return ""
    return id.replace("%2F", "/").replace("%25", "%")
