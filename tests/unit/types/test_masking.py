"""Secrets that services write in their own way."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable
from urllib.parse import quote

import pytest

from berlin.types import Secret
from berlin.types.masking import mask


@pytest.mark.parametrize(
    "written",
    [
        'ab12CD" + "34-efGH',
        "AB12CD34-EFGH",
        "ab12.CD34\u200b-ef\n> GH",
        ":".join(f"{byte:02x}" for byte in b"ab12CD34-efGH"),
    ],
)
def test_a_secret_that_is_taken_apart(written: str) -> None:
    """By whatever characters, and in whatever case, letters and digits are what is compared."""
    assert mask(f"bad token {written} here", [Secret("ab12CD34-efGH")]) == "bad token *** here"


def coded(text: str, encoding: str = "utf-8") -> str:
    """Return a text in base64."""
    return base64.b64encode(text.encode(encoding)).decode()


def percent(text: str) -> str:
    """Return a text in which each byte is percent-encoded."""
    return "".join(f"%{byte:02x}" for byte in text.encode())


def escaped(text: str) -> str:
    """Return a text in which each character is an escape of JSON."""
    return "".join(f"\\u{ord(char):04x}" for char in text)


def mixed(encode: Callable[[str], str]) -> Callable[[str], str]:
    """Return an encoding that leaves every second character as it is."""
    return lambda text: "".join(c if n % 2 else encode(c) for n, c in enumerate(text))


WAYS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "percent": percent,
    "percent twice": lambda text: quote(percent(text), safe=""),
    "percent, old": lambda text: "".join(f"%u{ord(char):04x}" for char in text),
    "percent, mixed": mixed(percent),
    "HTML": html.escape,
    "HTML, decimal": lambda text: "".join(f"&#{ord(char):05d};" for char in text),
    "HTML, hexadecimal": lambda text: "".join(f"&#X{ord(char):04X};" for char in text),
    "HTML, mixed": mixed(lambda char: f"&#{ord(char)};"),
    "HTML of JSON": lambda text: html.escape(json.dumps(text)),
    "HTML, with many zeros": lambda text: "".join(f"&#{ord(char):015d};" for char in text),
    "JSON": escaped,
    "Rust": lambda text: "".join(f"\\u{{{ord(char):x}}}" for char in text),
    "JSON in JSON in JSON": lambda text: json.dumps(json.dumps(json.dumps(text))),
    "JSON, a list": lambda text: json.dumps(list(text)),
    "repr": repr,
    "repr of bytes": lambda text: repr(text.encode()),
    "C": lambda text: "".join(f"\\x{byte:02x}" for byte in text.encode()),
    "C, octal": lambda text: "".join(f"\\{byte:03o}" for byte in text.encode()),
    "a list of bytes": lambda text: str(list(text.encode())),
    "a dump": lambda text: " ".join(f"0x{byte:02x}" for byte in text.encode()),
    "mail": lambda text: "".join(f"={byte:02X}" for byte in text.encode()),
    "base64": coded,
    "base64 of a pair": lambda text: coded("ann:" + text),
    "base64 of UTF-16": lambda text: coded(text, "utf-16-le"),
    "base64 of base64": lambda text: coded(coded(text)),
    "base64 of percent": lambda text: coded(percent(text)),
    "base64, for URLs": lambda text: coded(text).replace("+", "-").replace("/", "_").rstrip("="),
    "base64 in a URL": lambda text: quote(coded(text), safe=""),
    "base64, wrapped": lambda text: "\r\n".join(coded(text)[n:][:9] for n in range(0, 48, 9)),
    "hexadecimal": lambda text: text.encode().hex(),
    "hexadecimal of UTF-16": lambda text: text.encode("utf-16-be").hex(),
    "backwards": lambda text: text[::-1],
    "read as Latin-1": lambda text: text.encode().decode("latin-1"),
    "wide": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "tags": lambda text: f'{text[:6]}<a href="x">{text[6:]}</a>',
    "a comment": lambda text: f"{text[:6]}<!-- x -->{text[6:]}",
}


def dumped(text: str) -> str:
    """Return a dump of a text, as `hexdump -C` writes it."""
    raw = text.encode()
    rows = [raw[at : at + 8] for at in range(0, len(raw), 8)]
    return "\n".join(
        f"{8 * n:08x}  {row.hex(' ')}  |{row.decode('latin-1')}|" for n, row in enumerate(rows)
    )


LATER = "tok-a1b2c3d4-e5f6"
IN_GROUPS: dict[str, Callable[[bytes], bytes]] = {
    "base32": base64.b32encode,
    "base32, small": lambda raw: base64.b32encode(raw).lower(),
    "base32, hexadecimal": base64.b32hexencode,
    "base85": base64.b85encode,
    "Ascii85": base64.a85encode,
    "base64 without padding": lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"="),
    "bits": lambda raw: " ".join(f"{byte:08b}" for byte in raw).encode(),
    "hexadecimal of base64": lambda raw: base64.b64encode(raw).hex().encode(),
    "base32 of JSON": lambda raw: base64.b32encode(b'{"p":"%b"}' % raw),
}


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "abcd"])
@pytest.mark.parametrize("way", IN_GROUPS)
def test_a_secret_in_groups(way: str, before: str) -> None:
    """At any offset; of the groups that it shares with what is around it, little is left."""
    whole = IN_GROUPS[way](f"{before}{LATER}".encode()).decode()
    masked = mask(f"the value: {whole} in the end", [Secret(LATER)])
    assert "***" in masked
    shown = masked.removeprefix("the value: ").removesuffix(" in the end").replace("***", "")
    assert len(shown) <= 8 + 9 * len(before) * (way == "bits") + 4 * len(before)


@pytest.mark.parametrize("fold", [False, True])
def test_a_dump(fold: bool) -> None:
    """Neither the bytes nor their text are shown, also where an error folds its lines."""
    text = f"got {dumped(f'key={LATER}')} end"
    masked = mask(" ".join(text.split()) if fold else text, [Secret(LATER)])
    plain = bytes.fromhex("".join(re.findall(r"\b[0-9a-f]{2}\b", masked)))
    assert plain == b"key="
    assert not re.search("tok-|a1b2|c3d4|e5f6", masked)


@pytest.mark.parametrize("secret", ['Passw"rd&1<CANARY>é', "tok-a1b2c3d4", "пароль-длинный-9"])
@pytest.mark.parametrize("way", WAYS)
def test_a_secret_that_is_encoded(way: str, secret: str) -> None:
    """Nothing of it is left, and what is around it is."""
    masked = mask(f"<td>the value: {WAYS[way](secret)} in the end", [Secret(secret)])
    assert masked.startswith("<td>the value: ")
    assert masked.endswith("in the end")
    shown = masked.removeprefix("<td>the value: ").removesuffix("in the end")
    assert "***" in shown
    # Of base64 the last character may depend on what follows.
    assert sum(map(str.isalnum, html.unescape(shown))) <= 3, shown


@pytest.mark.parametrize("way", ["plain", "percent", "HTML, decimal", "JSON"])
def test_a_secret_that_is_cut(way: str) -> None:
    """The beginning of one at the end of a snippet is masked, however it is encoded."""
    assert mask(WAYS[way]("tok-a1b2c") + "… and more", [Secret("tok-a1b2c3d4")]) == "***… and more"


@pytest.mark.parametrize("way", ["percent", "percent, old", "HTML, decimal", "JSON", "C", "mail"])
def test_a_character_that_is_cut(way: str) -> None:
    """A snippet that ends within an encoded character shows no other character before it."""
    whole = WAYS[way]("tok-a1b2c3")
    for size in range(1, len(WAYS[way]("3"))):
        assert mask(whole[:-size] + "…", [Secret("tok-a1b2c3d4")]).startswith("***"), size


@pytest.mark.parametrize(
    "text",
    [
        "a token of 12, 13, 14, 15, 16, 17, 18, 19 and 20",
        r"C:\new\table \u0041 \ud83d\ude00 &amp; %20 =3D <b>x</b> dG9rZW4gaXMgYmFk",
    ],
)
def test_other_text_stays(text: str) -> None:
    """What is not the secret is not changed, whatever it decodes to."""
    assert mask(text, [Secret("tok-a1b2c3d4"), Secret("abc")]) == text
