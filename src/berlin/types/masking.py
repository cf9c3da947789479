"""Removes secrets from text, however they are encoded there."""

from __future__ import annotations

import base64
import codecs
import contextlib
import html
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import accumulate
from urllib.parse import unquote_to_bytes

import msgspec

from berlin.types.secret import Secret

# Shorter ones would be found in every other word.
SHORTEST_CHARS = 4
# Marks where a text was cut.
CUT = "…"
HIDDEN = "***"
MAX_DECODINGS = 6
# Loaded now: an error for want of descriptors is masked too, and then nothing can be imported.
_CODECS = tuple(codecs.lookup(name) for name in ("utf-8", "utf-16-le", "utf-16-be"))

# Each alternative is one way to write a character, or a run of bytes, with others; the first is one
# of them that was cut.
_ENCODED = re.compile(
    r"(?P<cut>(?:[%=][0-9a-f]?|[%\\]u[0-9a-f]{0,3}|\\x?[0-9a-f]{0,2}|&\#?x?[0-9a-z]{0,32})…)"
    r"|(?P<code>%u[0-9a-f]{4}|\\u[0-9a-f]{4}|\\[ux]\{[0-9a-f]{1,8}\})"
    r"|(?P<bytes>(?:%[0-9a-f]{2})+|(?:\\x[0-9a-f]{2})+|(?:=[0-9a-f]{2})+)"
    r"|(?P<octal>(?:\\[0-3][0-7]{2})+)"
    r"|(?P<html>&\#x?[0-9a-f]{1,32};?|&[a-z]{2,8};)"
    r"|\\(?P<char>[^ux0-9])"
    r"|(?P<numbers>(?:0x[0-9a-f]{2}|\b[0-9]{2,3})(?:[,;\s]{1,4}(?:0x[0-9a-f]{2}|[0-9]{2,3}\b)){7,})",
    re.IGNORECASE,
)
# Decoded only where nothing before them is: the other encodings take these apart.
_LAST = tuple(
    map(
        re.compile,
        (
            r"(?<![0-9A-Za-z+/_-])(?P<hex>[0-9A-Fa-f]{16,})(?![0-9A-Za-z+/_-])",
            r"(?<![0-9A-Za-z+/_-])(?P<base32>[A-Z2-7]{8,}={0,6})(?![0-9A-Za-z+/_-])",
            r"(?P<base64>[A-Za-z0-9+/_-]{8,}={0,2})",
        ),
    )
)
# A row of a dump: where it begins, bytes in hexadecimal, and their text.
_DUMP = re.compile(
    r"(?<![0-9a-z])([0-9a-f]{6,16}:?\s{1,4})"
    r"((?:(?:[0-9a-f]{2}|[0-9a-f]{4})(?:\s{1,3}|\Z)){1,32})"
    r"(\|[^|\n]{1,64}\||[^|\n]{0,64}(?=\n|\Z)|)",
    re.IGNORECASE,
)
_UNIT = re.compile(r"0x[0-9a-f]{2}|[0-9]{2,3}", re.IGNORECASE)
_CONTROL = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_TAG = re.compile(r"<!--.{0,200}?-->|<!\[CDATA\[|</?[a-z][^<>]{0,200}>", re.IGNORECASE | re.DOTALL)
_URL_SAFE = str.maketrans("-_", "+/")


def mask(text: str, secrets: Iterable[Secret]) -> str:
    """Return a text without the secrets in it, however they are encoded.

    This finds a secret as URLs, JSON, HTML, programming languages, mail and lists of bytes write
    it, in base64, base32 and base85 at any offset, in hexadecimal, in bits, in dumps, also in
    UTF-16, and these in each other; in another case, backwards, wrapped, or taken apart by
    punctuation or by tags; and its beginning where a snippet was cut.
    """
    clear = _long({secret.reveal() for secret in secrets})
    if not clear:
        return text
    wanted = [_Wanted.of(each) for each in clear]
    found = [span for view in _views(text) for span in _find(view, wanted)]
    for first, last in _joined(found):
        text = f"{text[:first]}{HIDDEN}{text[last:]}"
    return text


class _View(msgspec.Struct, frozen=True):
    """A text in which some characters may have been decoded.

    Attributes:
        text: the text.
        spans: for each of its characters, where it comes from in the text to be masked.
    """

    text: str
    spans: list[tuple[int, int]]

    def span(self, first: int, last: int) -> tuple[int, int]:
        """Return where a part of the text, up to `last`, comes from."""
        return self.spans[first][0], self.spans[last - 1][1]

    def only(self, kept: Iterable[str]) -> _View:
        """Return the characters that are kept, each as it is given; `""` drops one."""
        pairs = [(char, span) for char, span in zip(kept, self.spans, strict=True) if char]
        return _View("".join([char for char, _ in pairs]), [span for _, span in pairs])

    def decoded(self) -> _View:
        """Return the text with one layer of encodings removed."""
        for encoded in (_ENCODED, *_LAST):
            view = self._decoded(encoded)
            if view.text != self.text:
                return view
        return self

    def _decoded(self, encoded: re.Pattern[str]) -> _View:
        pieces: list[str] = []
        spans: list[tuple[int, int]] = []
        end = 0
        for match in encoded.finditer(self.text):
            plain = _decode(match)
            if plain:
                pieces += [self.text[end : match.start()], plain]
                spans += self.spans[end : match.start()]
                spans += [self.span(*match.span())] * len(plain)
                end = match.end()
        return _View("".join([*pieces, self.text[end:]]), spans + self.spans[end:])


def _views(text: str) -> Iterator[_View]:
    view = _View(text, [(n, n + 1) for n in range(len(text))])
    for _ in range(MAX_DECODINGS):
        yield view
        decoded = view.decoded()
        if decoded.text == view.text:
            return
        view = decoded
    yield view


def _decode(match: re.Match[str]) -> str:
    """Return the encoded text, or `""` if there is none."""
    found = match[0]
    with contextlib.suppress(ValueError):
        match match.lastgroup:
            case "cut":
                return CUT
            case "code":
                return chr(int(found[2:].strip("{}"), 16))
            case "bytes":
                return _text(unquote_to_bytes(re.sub(r"\\x|=", "%", found)))
            case "octal":
                return _text(bytes(int(found[n + 1 : n + 4], 8) for n in range(0, len(found), 4)))
            case "html":
                return html.unescape(found) if html.unescape(found) != found else ""
            case "char":
                return _CONTROL.get(found[1], found[1])
            case "numbers":
                return _text(bytes(int(unit, 0) for unit in _UNIT.findall(found)))
            case "hex":
                return _printable(bytes.fromhex(found))
            case "base32":
                coded = found.rstrip("=")
                return _printable(base64.b32decode(coded + "=" * (-len(coded) % 8)))
            case _:
                coded = found.translate(_URL_SAFE).rstrip("=")
                return _printable(base64.b64decode(coded + "=" * (-len(coded) % 4)))
    return ""


def _printable(raw: bytes) -> str:
    plain = raw.decode()
    return plain if plain.isprintable() else ""


def _text(raw: bytes) -> str:
    with contextlib.suppress(UnicodeDecodeError):
        return raw.decode()
    return raw.decode("latin-1")


class _Wanted(msgspec.Struct, frozen=True):
    """A secret, in the forms that are searched for.

    Attributes:
        plain: as it is, and with its white space folded or as `+`.
        bare: its letters and digits in lower case, both ways round, its bytes in hexadecimal and as
            bits, and what of base32 depends on it alone, in lower case.
        coded: what of base64 and base85 depends on it alone.
    """

    plain: frozenset[str]
    bare: frozenset[str]
    coded: frozenset[str]

    @classmethod
    def of(cls, clear: str) -> _Wanted:
        raws = [codec.encode(clear, "surrogatepass")[0] for codec in _CODECS]
        folded = {clear, " ".join(clear.split()), clear.replace(" ", "+")}
        bare, untagged = ("".join(map(_bare, text)) for text in (clear, _TAG.sub("", clear)))
        return cls(
            _long({*folded, raws[0].decode("latin-1")}),
            _long(
                {
                    *(bare, bare[::-1], untagged, "".join(f"{byte:08b}" for byte in raws[0])),
                    *(raw.hex() for raw in raws),
                    *(
                        part.lower()
                        for encode in _BASE32
                        for part in _in_groups(raws[0], encode, 5)
                    ),
                },
                2 * SHORTEST_CHARS,
            ),
            _long(
                {
                    *(part for raw in raws for part in _in_groups(raw, base64.b64encode, 6)),
                    *(part.translate(_URL_SAFE) for part in _in_base85(raws[0])),
                },
                2 * SHORTEST_CHARS,
            ),
        )


def _find(view: _View, wanted: list[_Wanted]) -> Iterator[tuple[int, int]]:
    """Yield where secrets are in the text to be masked."""
    bare = view.only(map(_bare, view.text))
    coded = view.only("" if char.isspace() else char for char in view.text.translate(_URL_SAFE))
    others = []
    if "<" in view.text:
        text = _TAG.sub(lambda tag: " " * len(tag[0]), view.text)
        others.append(view.only(map(_bare, text)))
    if _DUMP.search(view.text):
        for column in (2, 3):
            text = _DUMP.sub(partial(_only, column), view.text)
            others.append(view.only(map(_bare, text)))
    for each in wanted:
        yield from _search(view, each.plain)
        yield from _search(bare, each.bare)
        for other in others:
            yield from _search(other, each.bare)
        yield from _search(coded, each.coded)


def _long(forms: set[str], least: int = SHORTEST_CHARS) -> frozenset[str]:
    return frozenset(form for form in forms if len(form) >= least)


def _bare(char: str) -> str:
    """Return a letter or digit in lower case and its usual form, and `""` for anything else.

    The mark of a cut stays.
    """
    if char.isascii():
        return char.lower() if char.isalnum() else ""
    usual = unicodedata.normalize("NFKC", char).lower() if char != CUT else char
    return (usual if len(usual) == 1 else char) if char.isalnum() or char == CUT else ""


def _only(column: int, row: re.Match[str]) -> str:
    """Return a row with blanks for all but one of its columns."""
    before = row.start(column) - row.start()
    return " " * before + row[column] + " " * (len(row[0]) - before - len(row[column]))


def _in_groups(raw: bytes, encode: Callable[[bytes], bytes], width: int) -> Iterator[str]:
    """Yield the characters that depend on some bytes alone, at each offset, of an encoding with so
    many bits in a character.
    """
    for bits in range(0, 8 * (width if width % 2 else width // 2), 8):
        coded = encode(b"\0" * (bits // 8) + raw).decode().rstrip("=")
        yield coded[-(-bits // width) : (bits + 8 * len(raw)) // width]


_BASE32 = (base64.b32encode, base64.b32hexencode)


def _in_base85(raw: bytes) -> Iterator[str]:
    """Yield both forms of base85 of the whole groups of four bytes, at each offset."""
    for offset in range(4):
        whole = raw[offset:][: (len(raw) - offset) // 4 * 4]
        yield base64.b85encode(whole).decode()
        yield base64.a85encode(whole).decode()


def _search(view: _View, forms: frozenset[str]) -> Iterator[tuple[int, int]]:
    for form in forms:
        at = view.text.find(form)
        while at >= 0:
            yield view.span(at, at + len(form))
            at = view.text.find(form, at + len(form))
        # The beginning of a secret before each cut.
        for cut in accumulate(len(piece) + 1 for piece in view.text.split(CUT)[:-1]):
            sizes = range(min(len(form), cut) - 1, SHORTEST_CHARS - 1, -1)
            end = cut - 1
            size = next((n for n in sizes if view.text.startswith(form[:n], end - n)), 0)
            if size:
                yield view.span(end - size, end)


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans without overlaps, the last one first."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if joined and first < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined[::-1]
