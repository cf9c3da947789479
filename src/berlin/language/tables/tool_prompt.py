"""The table `[tool_prompt]` of a recipe: the wording that offers tools to a text-only service."""

from __future__ import annotations

import re
from typing import Any, Literal, TypeAlias

import msgspec

ToolsMode: TypeAlias = Literal["native", "emulate", "ignore", "refuse"]
"""How tools are handled: by the service itself, in the prompt, dropped with a note in the answer,
or refused."""

INSTRUCTIONS = """\
You have tools. To call one, write a fenced block that is named after it and holds its arguments \
as one JSON object:

```{fence}
{{"argument": "value"}}
```

Begin the block at the start of a line, outside of any other block. Several blocks in one answer \
are several calls. After the last block, stop: the results come in the next message. Never write \
a result yourself, and never say that you did something without calling the tool for it. When no \
tool is needed, answer in plain text.

The tools, with the types of their arguments (`?` marks those that may be left out):

{tools}"""

REMINDER = "(To call a tool, write a block ```{fence} with its arguments as JSON.)"

CORRECTION = """\
{problem}

Send the corrected block now, in the form
```{fence}
{{"argument": "value"}}
```
and nothing that you have already sent."""

UNKEPT = """\
You said what you are about to do, but your answer holds no tool call, so nothing was done. \
If you want to call a tool, send its block ```{fence} now. If not, answer with: NO CALL"""

CLAIMS = (
    r"(?i)(?:^|[.!?:\n]\s*)(?:now,? |first,? |next,? )?"
    r"(?:let me(?! know)|let's|i(?:'|\u2019)ll(?! be\b)|i will(?! be\b)"
    r"|i(?:'|\u2019)m going to|i am going to)\b[^.!?\n]*[.:\u2026]*\s*$",
)

JSON_FORM = """\
Answer with one JSON object and nothing else: no explanation, no fence around it.{schema}"""

JSON_CORRECTION = """\
{problem}

Send the whole answer again, as one JSON object and nothing else."""


class ToolPrompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[tool_prompt]`.

    Each text is a template; `{fence}` becomes the first line of a call's block (after the
    backticks), and literal braces are doubled.

    Attributes:
        fence: the info string of a call's block; ends with `{name}`, after something that
            distinguishes a call from a block of code.
        instructions: how tools are offered; `{tools}` becomes their list.
        reminder: added to each question, because models forget in long conversations; `""`
            for none.
        required: added if the caller requires a call.
        only: added if the caller requires a call of the tool `{name}`.
        forbidden: added if the caller allows no calls.
        single: added if the caller allows only one call at a time.
        result: introduces the result of the tool `{name}`.
        failure: introduces it where the tool failed.
        image: replaces an image in a result, where the service takes no images.
        correction: the message sent after an invalid call; `{problem}` says what is wrong.
        missing: the message sent after an answer without a call if the caller requires one.
        unkept: the message sent after an answer that announces work but has no call.
        claims: regular expressions that match the end of such an answer; an empty list switches
            this off.
        json: asks for JSON; `{schema}` becomes its schema, if known.
        json_correction: the message sent after an answer that is not the requested JSON.
        max_chars: the approximate maximum length of the list of tools; descriptions are cut to fit,
            but never names, required arguments or choices.
        max_result_chars: how much of a tool's result is sent, for a service that refuses long
            messages: the middle of a longer one is left out, and the model learns how much that
                is. 0 sends all of it.
    """

    fence: str = "tool:{name}"
    instructions: str = INSTRUCTIONS
    reminder: str = REMINDER
    required: str = "Call at least one tool in this answer."
    only: str = "Call the tool {name} in this answer."
    forbidden: str = "Call no tool in this answer."
    single: str = "Call one tool at most in this answer."
    result: str = "Result of {name}:"
    failure: str = "{name} failed:"
    image: str = "[an image that cannot be shown here]"
    correction: str = CORRECTION
    missing: str = (
        "Your answer holds no tool call, and one is needed. Send its block ```{fence} now."
    )
    unkept: str = UNKEPT
    claims: tuple[str, ...] = CLAIMS
    json: str = JSON_FORM
    json_correction: str = JSON_CORRECTION
    max_chars: int = 8_000
    max_result_chars: int = 0

    def __post_init__(self) -> None:
        before, name, behind = self.fence.partition("{name}")
        if not name or not (before + behind).strip() or {"`", "\n"} & set(self.fence):
            raise ValueError(
                "fence must be one line that holds {name} once and something besides it, "
                'such as "tool:{name}"'
            )
        if behind:
            raise ValueError("fence must end with {name}")
        if self.max_chars < 0 or self.max_result_chars < 0:
            raise ValueError("max_chars and max_result_chars must not be negative")
        for field in _TEMPLATES:
            own = _PLACEHOLDERS.get(field)
            given = dict.fromkeys(("fence", own) if own else ("fence",), "x")
            try:
                text = getattr(self, field).format(**given)
            except (KeyError, IndexError, ValueError) as error:
                known = ", ".join(f"{{{name}}}" for name in given)
                raise ValueError(
                    f"{field} is not a valid template ({error}): it may use {known}; double "
                    "all other braces"
                ) from None
            if not text and field in ("instructions", "json"):
                raise ValueError(f"{field} must not be empty")
        for claim in self.claims:
            try:
                re.compile(claim)
            except re.error as error:
                raise ValueError(
                    f"claims: {claim!r} is not a regular expression: {error}"
                ) from None
            if takes_exponential_time(claim):
                raise ValueError(
                    f"claims: {claim!r} may take exponential time: it repeats without limit what "
                    "contains a repetition or alternatives; simplify it"
                )


_TEMPLATES = (
    *("instructions", "reminder", "required", "only", "forbidden", "single", "result", "failure"),
    *("correction", "missing", "unkept", "json", "json_correction"),
)
_PLACEHOLDERS = {
    "instructions": "tools",
    "only": "name",
    "result": "name",
    "failure": "name",
    "correction": "problem",
    "json": "schema",
    "json_correction": "problem",
}


def takes_exponential_time(pattern: str) -> bool:
    """Return whether a regular expression repeats without limit what can itself vary."""
    return _varies(re._parser.parse(pattern), within=False)  # type: ignore[attr-defined]  # private


def _varies(parsed: Any, *, within: bool) -> bool:
    for kind, given in parsed:
        name, inner = str(kind), within
        match name:
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                is_unlimited = given[1] == re._constants.MAXREPEAT  # type: ignore[attr-defined]  # private
                if within and is_unlimited:
                    return True
                bodies, inner = [given[2]], within or is_unlimited
            case "BRANCH":
                if within:
                    return True
                bodies = given[1]
            case "SUBPATTERN":
                bodies = [given[-1]]
            case "ASSERT" | "ASSERT_NOT":
                bodies = [given[1]]
            case "ATOMIC_GROUP":
                bodies, inner = [given], False  # it is never entered again
            case "GROUPREF_EXISTS":
                bodies = [body for body in given[1:] if body]
            case _:
                continue
        if any(_varies(body, within=inner) for body in bodies):
            return True
    return False
