"""A mind by script: it reads what it is sent, and answers as a careful chat model would.

It is a provider behind the service that `make agents` plays. It knows how bugs in sums are fixed,
and nothing of Berlin: which tools there are, and in what form they are called, it reads in the
prompt, as a model does.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Iterable
from typing import NamedTuple

from berlin.errors import RequestRejectedError
from berlin.providers.contract import Burst
from berlin.types import (
    ChatRequest,
    Finished,
    Message,
    TextDelta,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
    ToolResultPart,
)

MAX_BYTES = 30_000

_FORM = re.compile(r"^```(\S*)NAME$", re.MULTILINE)
_TOOL = re.compile(r"^- ([\w.-]+)\((.*?)\)(?=:|$)", re.MULTILINE)
_ARGUMENT = re.compile(r"(?:^|, )(\w+)(\??): ")

_SHELLS = ("Bash", "bash", "exec_command", "shell", "run_shell_command")
_COMMANDS = ("command", "cmd")
_EDITS = ("Edit", "edit")


class Tool(NamedTuple):
    """A tool as the mind has read of it."""

    name: str
    arguments: tuple[str, ...]
    required: tuple[str, ...]


class Call(NamedTuple):
    """A call that the mind wants to make."""

    name: str
    arguments: dict[str, object]


class Answer(NamedTuple):
    """What the mind says, and what it calls."""

    text: str
    calls: tuple[Call, ...] = ()
    after: str = ""


class Mind:
    """Answers chats about sums.

    Args:
        makes_a_mistake: whether its first edit lacks an argument, as it happens to models.

    Attributes:
        turns: how often it was asked.
        calls: how many calls it has written.
        refused: messages that were too long.
        largest: bytes of the longest message.
    """

    def __init__(self, *, makes_a_mistake: bool = True) -> None:
        self._makes_a_mistake = makes_a_mistake
        self.turns = self.calls = self.refused = self.largest = 0
        self.conversations = 0

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Answer in small pieces."""
        size = len(_text(request.messages[-1]).encode())
        self.largest = max(self.largest, size)
        if size > MAX_BYTES:
            self.refused += 1
            raise RequestRejectedError(f"the message has {size} bytes; {MAX_BYTES} are allowed")
        self.turns += 1
        self.conversations += not any(m.role == "assistant" for m in request.messages)
        answer = self._think(request)
        self.calls += len(answer.calls)
        native = bool(request.tools)
        text = answer.text
        if answer.calls and not native:
            form = _FORM.search(_text(request.messages[0]))
            opening = form[1] if form else ""
            blocks = [
                f"```{opening}{call.name}\n{json.dumps(call.arguments)}\n```"
                for call in answer.calls
            ]
            text = "\n\n".join([text, *blocks, *filter(None, [answer.after])])
        for at in range(0, len(text), 5):
            yield [TextDelta(text[at : at + 5])]
        if native:
            for n, call in enumerate(answer.calls):
                name = f"call_{self.turns}_{n}"
                yield [ToolCallDelta(n, name, call.name, json.dumps(call.arguments))]
        yield [Finished("tool_calls" if native and answer.calls else "stop")]

    async def aclose(self) -> None:
        """Do nothing."""

    def _think(self, request: ChatRequest) -> Answer:
        tools = _tools(request)
        heard = [_text(message) for message in request.messages if message.role != "assistant"]
        said = [_text(message) for message in request.messages if message.role == "assistant"]
        last, mine = heard[-1], said[-1] if said else ""
        everything = "\n".join(heard)
        both = [*said, *heard]  # a whole history comes as one message, what it said within it
        if "SEARCH/REPLACE" in everything and not tools:
            return _write_search_replace(everything, last)
        if "unittest" not in everything:
            return Answer("Fix a failing test")  # a title for the session, or small talk
        shell = _first(tools, _SHELLS)
        if shell is None:
            return Answer("I have no tool to run commands with, so I can only give advice.")
        if "is wrong" in last or "required property" in last:
            return Answer("Sorry, here is the whole call.", (_edit(tools, everything, shell),))
        if "return a - b" not in everything:
            look = _run(shell, "pwd && cat test_sums.py sums.py NOTES.md")
            return Answer("I look at the test and at the code.", (look,))
        edit, read = _first(tools, _EDITS), _first(tools, ("Read", "read"))
        if edit is not None and read is not None and not _has_read(both):
            path = f"{_folder(everything)}/sums.py"
            first = Call(read.name, {_path_of(read): path})
            second = Call(read.name, {_path_of(read): f"{_folder(everything)}/test_sums.py"})
            return Answer("I read both files, as the editor wants.", (first, second))
        if not any("return a + b" in text for text in both):
            call = _edit(tools, everything, shell)
            if self._makes_a_mistake and "new_string" in call.arguments and not request.tools:
                call.arguments.pop("new_string")
                self._makes_a_mistake = False
                return Answer("`add` subtracts:\n\n```python\nreturn a - b\n```\n", (call,))
            return Answer("`add` subtracts where it should add.", (call,))
        if re.search(r"^OK\b", last, re.MULTILINE):
            return Answer("The bug is fixed: `add` subtracted. The test passes.")
        if "unittest" in mine.rpartition("\n\n")[2]:
            return Answer("The test still fails, and I do not know why.")
        return Answer("Now the test.", (_run(shell, "python3 -m unittest 2>&1"),))


def _text(message: Message) -> str:
    """Return all of a message as text, calls and results too."""
    written = []
    for part in message.parts:
        match part:
            case TextPart():
                written.append(part.text)
            case ToolCallPart():
                written.append(f"{part.name} {part.arguments}")
            case ToolResultPart():
                texts = (inner.text for inner in part.parts if isinstance(inner, TextPart))
                written.append("".join(texts) or part.content)
            case _:
                pass
    return "\n\n".join(written)


def _tools(request: ChatRequest) -> list[Tool]:
    if request.tools:
        found = []
        for tool in request.tools:
            schema = json.loads(tool.parameters)
            required = tuple(schema.get("required", ()))
            found.append(Tool(tool.name, tuple(schema.get("properties", ())), required))
        return found
    offered = _text(request.messages[0]).partition("The tools, with the types")[2]
    return [
        Tool(
            name,
            tuple(argument for argument, _ in _ARGUMENT.findall(arguments)),
            tuple(argument for argument, maybe in _ARGUMENT.findall(arguments) if not maybe),
        )
        for name, arguments in _TOOL.findall(offered)
    ]


def _first(tools: Iterable[Tool], names: tuple[str, ...]) -> Tool | None:
    by_name = {tool.name: tool for tool in tools}
    return next((by_name[name] for name in names if name in by_name), None)


def _run(shell: Tool, command: str) -> Call:
    name = next(name for name in _COMMANDS if name in shell.arguments)
    arguments: dict[str, object] = {name: command}
    if "description" in shell.required:
        arguments["description"] = "Looks or runs"
    return Call(shell.name, arguments)


def _edit(tools: list[Tool], everything: str, shell: Tool) -> Call:
    edit = _first(tools, _EDITS)
    if edit is None:
        return _run(shell, "sed -i 's/return a - b/return a + b/' sums.py && cat sums.py")
    names = {name.replace("_", "").lower(): name for name in edit.arguments}
    return Call(
        edit.name,
        {
            names["filepath"]: f"{_folder(everything)}/sums.py",
            names["oldstring"]: "    return a - b",
            names["newstring"]: "    return a + b",
        },
    )


def _folder(everything: str) -> str:
    found = re.findall(r"^(/\S+/repository)$", everything, re.MULTILINE)
    return found[-1] if found else "."


def _path_of(read: Tool) -> str:
    return next(name for name in read.arguments if "path" in name.lower())


def _has_read(said: Iterable[str]) -> bool:
    return any("as the editor wants" in text for text in said)


def _write_search_replace(everything: str, last: str) -> Answer:
    """Answer in the form of aider, which edits by text alone."""
    if "return a - b" not in everything:
        return Answer("Please add sums.py to the chat.")
    block = "<<<<<<< SEARCH\n    return a - b\n=======\n    return a + b\n>>>>>>> REPLACE"
    return Answer(f"`add` subtracts where it should add:\n\nsums.py\n```python\n{block}\n```\n")
