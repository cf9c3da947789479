"""The scanner of tool calls: at every cut of an answer it finds the same."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from berlin.routing.tools_over_text.scanner import Found, FoundCall, Scanner

FENCE = "tool:"


def scan(*pieces: str) -> list[Found]:
    """Return what is found, with neighbouring texts joined."""
    scanner = Scanner(FENCE)
    found: list[Found] = []
    for piece in pieces:
        found += scanner.feed(piece)
    found += scanner.finish()
    joined: list[Found] = []
    for item in found:
        if joined and isinstance(item, str) and isinstance(joined[-1], str):
            joined[-1] += item
        else:
            joined.append(item)
    return joined


PIECES = st.sampled_from(
    [
        "```",
        "````",
        "`",
        "~~~",
        "tool:",
        "Read",
        "```tool:Read\n",
        "```tool:Read\n{}\n```",
        '{"a": "b"}',
        '{"a": "```\\n"',
        "{",
        "}",
        "[",
        '"',
        "\\",
        "\n",
        "\n```\n",
        " ",
        "    ",
        "text",
        "python",
        "\r\n",
        "é\u2028",
    ]
)


@given(st.lists(PIECES, max_size=14).map("".join), st.data())
def test_every_cut_finds_the_same(answer: str, data: st.DataObject) -> None:
    """Wherever an answer is cut, in two pieces or in single characters, the same is found."""
    whole = scan(answer)
    assert scan(*answer) == whole
    at = data.draw(st.integers(0, len(answer)))
    assert scan(answer[:at], answer[at:]) == whole


@given(
    st.lists(
        st.tuples(
            st.text(alphabet="ab .\n", max_size=8),
            st.dictionaries(st.text(max_size=3), st.text(max_size=9) | st.integers(), max_size=3),
        ),
        max_size=4,
    ),
    st.text(alphabet="ab .\n", max_size=8),
)
def test_what_was_written_is_found(calls: list[tuple[str, dict[str, object]]], end: str) -> None:
    """Calls between texts come back with their arguments, and the texts without outer blanks."""
    answer = "".join(
        f"{text}\n```tool:Write\n{json.dumps(arguments, ensure_ascii=False)}\n```\n"
        for text, arguments in calls
    )
    found = scan(answer + end)
    assert [json.loads(c.body) for c in found if isinstance(c, FoundCall)] == [
        arguments for _, arguments in calls
    ]
    assert all(call.whole for call in found if isinstance(call, FoundCall))
    texts = [text.strip() for text, _ in calls] + [end.strip()]
    assert [t.strip() for t in found if isinstance(t, str) and t.strip()] == list(
        filter(None, texts)
    )


@given(st.text(alphabet="ab`~\n .#>", max_size=40))
def test_text_without_a_call_is_untouched(answer: str) -> None:
    """An answer that names no tool comes out as it came in, to the last blank."""
    assert "".join(item for item in scan(answer) if isinstance(item, str)) == answer


@given(st.lists(PIECES, max_size=10).map("".join))
def test_no_more_is_held_back_than_a_fence_needs(answer: str) -> None:
    """What is held back of text is blanks and a line that may yet begin a call."""
    scanner = Scanner(FENCE)
    for char in answer:
        scanner.feed(char)
        line = scanner._line[scanner._given :]
        assert not line.strip() or line.lstrip(" ").startswith("`")
        assert len(line.strip()) < 160
