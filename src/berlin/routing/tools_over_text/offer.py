"""The contents that a request allows and requires in an answer: tools, number of calls, format."""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from berlin.language.tables.tool_prompt import ToolPrompt
from berlin.routing.tools_over_text.checker import Checked, check_object
from berlin.routing.tools_over_text.describe import describe_tools
from berlin.routing.tools_over_text.scanner import FoundCall
from berlin.types import ChatRequest, ResponseFormat, Tool


class Offer(msgspec.Struct, frozen=True):
    """The tools that may be called, according to a request.

    Attributes:
        prompt: the wording.
        tools: the tools that the client runs.
        choice: `auto`, `none`, `required`, or the name of one tool.
        is_single: whether an answer may have only one call.
        response_format: the format required of an answer without calls.
    """

    prompt: ToolPrompt
    tools: tuple[Tool, ...] = ()
    choice: str = "auto"
    is_single: bool = False
    response_format: ResponseFormat | None = None

    @classmethod
    def of(cls, request: ChatRequest, prompt: ToolPrompt, *, takes_json: bool = False) -> Offer:
        """Return the offer of a request.

        Tools that only the service could run are left out, and so is the response format if the
        service supports it.
        """
        return cls(
            prompt,
            tuple(tool for tool in request.tools if not tool.hosted),
            request.tool_choice,
            request.parallel_tool_calls is False,
            None if takes_json else request.response_format,
        )

    @property
    def opening(self) -> str:
        """The info string of a call up to the name of the tool."""
        return self.prompt.fence.partition("{name}")[0]

    @property
    def is_required(self) -> bool:
        """Whether an answer without a call is wrong."""
        return bool(self.tools) and self.choice not in ("auto", "none")

    @property
    def example(self) -> str:
        """The first line of a call, after the backticks, for any tool."""
        return self.prompt.fence.format(name="NAME")

    def instructions(self) -> str:
        """Return the instructions that offer the tools; `""` if there are none."""
        if not self.tools:
            return ""
        listed = describe_tools(self.tools, self.prompt.max_chars)
        return self.prompt.instructions.format(fence=self.example, tools=listed)

    def notes(self) -> str:
        """Return the notes added to each question."""
        prompt, wordings = self.prompt, []
        if self.tools:
            wordings += {
                "auto": [prompt.reminder],
                "none": [prompt.forbidden],
                "required": [prompt.reminder, prompt.required],
            }.get(self.choice, [prompt.reminder, prompt.only])
            if self.is_single and self.choice != "none":
                wordings.append(prompt.single)
        notes = [wording.format(fence=self.example, name=self.choice) for wording in wordings]
        if self.response_format is not None:
            notes.append(self._ask_for_json(self.response_format))
        return "\n".join(filter(None, notes))

    def write_call(self, name: str, arguments: str) -> str:
        """Return a call as the model would write it."""
        longest = max((len(run) for run in re.findall("`+", name)), default=0)
        fence = "`" * max(3, longest + 1)
        return f"{fence}{self.prompt.fence.format(name=name)}\n{arguments or '{}'}\n{fence}"

    def check(self, call: FoundCall) -> Checked:
        """Return the arguments of a call, or what is wrong with it."""
        if not call.name:
            return Checked("", "A block names no tool.")
        tool = next((tool for tool in self.tools if tool.name == call.name), None)
        if tool is None:
            names = ", ".join(tool.name for tool in self.tools)
            return Checked("", f"{call.name!r} is not a tool. The tools are: {names}.")
        if self.choice == "none":
            return Checked("", f"{call.name} was called, but no tool may be called now.")
        if self.choice not in ("auto", "required", call.name):
            return Checked("", f"{call.name} was called; only {self.choice} may be called now.")
        if not call.whole:
            return Checked("", f"The call of {call.name} is not one complete JSON object.")
        checked = check_object(call.body or "{}", tool.parameters)
        if checked.problem:
            return Checked("", f"The call of {call.name} is wrong: {checked.problem}.")
        return checked

    def check_json(self, text: str) -> Checked:
        """Return a JSON answer without the fence and the text around it, or what is wrong."""
        schema = self.response_format.schema if self.response_format is not None else ""
        checked = check_object(_unfenced(text), schema or "{}")
        if checked.problem:
            return Checked("", f"The answer does not have the requested form: {checked.problem}.")
        return checked

    def only_announces(self, answer: str) -> bool:
        """Whether an answer ends by announcing work, without a call that does it."""
        end = answer.rstrip()[-400:]
        return any(_compiled(claim).search(end) is not None for claim in self.prompt.claims)

    def _ask_for_json(self, form: ResponseFormat) -> str:
        known = []
        if form.description:
            known.append(form.description)
        if form.schema:
            known.append(f"It follows this JSON Schema:\n{form.schema}")
        schema = "\n".join(["", *known]) if known else ""
        return self.prompt.json.format(fence=self.example, schema=schema)


def _unfenced(answer: str) -> str:
    """Return the JSON of an answer: many models write a sentence before a block with it.

    Several blocks come back with what is between them, which is not JSON: none is chosen.
    """
    answer = answer.strip()
    lines = answer.split("\n")
    marks = [at for at, line in enumerate(lines) if line.lstrip().startswith("```")]
    if answer.startswith("{") or len(marks) < 2:
        return answer
    first, last = lines[marks[0]].strip().lower(), lines[marks[-1]].strip()
    if first not in ("```", "```json") or last != "```":
        return answer
    return "\n".join(lines[marks[0] + 1 : marks[-1]])


@lru_cache(maxsize=64)
def _compiled(claim: str) -> re.Pattern[str]:
    return re.compile(claim)
