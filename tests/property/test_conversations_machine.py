"""Conversations that a service keeps are never mixed, whatever clients, stores and services do.

Each step asserts, at the service: what a conversation holds, with what is sent now, is word for
word what this client has sent and been told, and no other client has ever been in it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
from collections.abc import AsyncGenerator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from berlin.errors import BerlinError, ConnectionLostError, RateLimitError, RequestRejectedError
from berlin.language.tables.keeping import KeepingMap
from berlin.providers.contract import Burst
from berlin.routing.conversations import Conversations, Heads, MemoryHeads
from berlin.routing.conversations.sqlite import SQLiteHeads
from berlin.types import (
    Accumulator,
    ChatRequest,
    Finished,
    Message,
    StreamEvent,
    TextDelta,
    Tool,
    ToolCallDelta,
)
from support.formats import answered

WORDS = st.sampled_from(["hello", "hello "])
Seen = tuple[tuple[str, str], ...]


def _seen(messages: tuple[Message, ...]) -> Seen:
    """What was said. Clients trim answers, so white space in them makes no other conversation."""
    return tuple(
        (m.role, "".join(repr(m.parts).split()) if m.role == "assistant" else repr(m.parts))
        for m in messages
    )


class RememberingService:
    """Keeps conversations: what it heard and said, after each of its answers."""

    def __init__(self, keeping: KeepingMap) -> None:
        self.keeping = keeping
        self.nodes: dict[tuple[str, str], Seen] = {}
        self.heads: dict[str, str] = {}
        self.owners: dict[str, str] = {}
        self.numbers = count()
        self.fails: BerlinError | None = None
        self.forgets_silently = False
        self.turns = 0
        self.sent = 0
        self.expected: Seen = ()
        self.who = ""

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Answer, and check that this belongs here."""
        number = next(self.numbers)
        conversation = request.conversation_id
        is_known = conversation in self.heads
        if conversation and not is_known and self.keeping.id == "service":
            raise RequestRejectedError("no such conversation", status=404)
        failure, self.fails = self.fails, None
        if isinstance(failure, RateLimitError):
            raise failure
        if self.forgets_silently or not conversation:
            self.forgets_silently = False
            conversation, is_known = f"c{number}", False
        if is_known:
            at = request.parent_id if self.keeping.branches else self.heads[conversation]
            assert request.parent_id == at
            before = self.nodes[conversation, at]
        else:
            before = ()
        new = request.messages[request.known_messages or 0 :]
        heard = (*before, *_seen(new))
        if is_known or not request.conversation_id or self.keeping.id == "client":
            assert heard == self.expected, "the service hears another history than the client has"
        assert self.owners.setdefault(conversation, self.who) == self.who
        self.turns += 1
        self.sent += len(new)
        message = f"m{number}"
        self.heads[conversation] = message
        if failure is not None:  # it took the turn, and the line broke
            self.nodes[conversation, message] = (*heard, ("assistant", "half"))
            raise failure
        answer = Accumulator()
        events: list[StreamEvent] = [TextDelta("yes")]
        if request.tools:
            events.append(ToolCallDelta(0, "call_1", "run", '{"a": 1, "b": 2}'))
        told = conversation if self.keeping.id == "service" else ""
        end = Finished(conversation_id=told, message_id=message)
        for event in (*events, end):
            answer.add(event)
        said = Message("assistant", answer.response().parts)
        self.nodes[conversation, message] = (*heard, *_seen((said,)))
        yield [*events]
        yield [end]

    async def aclose(self) -> None:
        """Do nothing."""


class ConversationsMachine(RuleBasedStateMachine):
    """Clients of several tenants talk, edit, branch and repeat; stores and services lose things."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.histories: list[tuple[str, str, tuple[Message, ...], tuple[Tool, ...]]] = []
        self.first_turns = 0

    @initialize(
        ids=st.sampled_from(["service", "client"]),
        branches=st.booleans(),
        in_file=st.booleans(),
    )
    def begin(self, ids: Any, branches: bool, in_file: bool) -> None:
        """Choose the kind of service and of store."""
        self.keeping = KeepingMap(ids, branches)
        self.service = RememberingService(self.keeping)
        self.path = Path(self.folder.name) / "heads.sqlite" if in_file else None
        self.ids = count()
        self._open()

    def _open(self) -> None:
        self.heads: Heads = (
            MemoryHeads(max_count=6) if self.path is None else SQLiteHeads(self.path)
        )
        self._wrap()

    def _wrap(self) -> None:
        self.provider = Conversations(
            self.service, self.keeping, self.heads, new_id=lambda: f"own{next(self.ids)}"
        )

    async def _ask(
        self,
        who: str,
        session: str,
        messages: tuple[Message, ...],
        tools: tuple[Tool, ...],
    ) -> None:
        request = ChatRequest(messages, tools=tools, tenant=who, session_id=session)
        self.service.expected, self.service.who = _seen(messages), who
        parts = (await answered(self.provider, request)).parts
        self.histories.append((who, session, (*messages, Message("assistant", parts)), tools))

    def _run(self, *arguments: Any) -> None:
        with suppress(ConnectionLostError, RateLimitError):
            self.loop.run_until_complete(self._ask(*arguments))

    @rule(
        who=st.sampled_from(["ann", "bob"]),
        session=st.sampled_from(["", "", "s"]),
        text=WORDS,
        with_tools=st.booleans(),
    )
    def start(self, who: str, session: str, text: str, with_tools: bool) -> None:
        """A first turn begins a conversation, also with the words of another."""
        before = set(self.service.heads)
        tools = (Tool("run"),) if with_tools else ()
        self._run(who, session, (Message.of("user", text),), tools)
        self.first_turns += len(set(self.service.heads) - before)

    @rule(data=st.data(), text=WORDS)
    def go_on(self, data: st.DataObject, text: str) -> None:
        """A client goes on from any history that it has had: the last one, or an earlier one."""
        if self.histories:
            who, session, messages, tools = data.draw(st.sampled_from(self.histories[-8:]))
            self._run(who, session, (*messages, Message.of("user", text)), tools)

    @rule(text=WORDS)
    def all_say_the_same(self, text: str) -> None:
        """Two tenants say word for word the same, and both go on."""
        for who in ("ann", "bob"):
            self._run(who, "", (Message.of("user", text),), ())
        for who, session, messages, tools in self.histories[-2:]:
            self._run(who, session, (*messages, Message.of("user", text)), tools)

    @rule(text=WORDS, turns=st.integers(2, 3))
    def go_on_with_the_last(self, text: str, turns: int) -> None:
        """The client that spoke last says more."""
        for _ in range(turns):
            if self.histories:
                who, session, messages, tools = self.histories[-1]
                self._run(who, session, (*messages, Message.of("user", text)), tools)

    @rule(data=st.data(), text=WORDS)
    def edit(self, data: st.DataObject, text: str) -> None:
        """A client changes something it said, or what it was told, and goes on."""
        if self.histories:
            who, session, messages, tools = data.draw(st.sampled_from(self.histories[-8:]))
            at = data.draw(st.integers(0, len(messages) - 1))
            edited = Message.of(messages[at].role, f"{messages[at].text}{text}!")
            changed = (*messages[:at], edited, *messages[at + 1 :])
            self._run(who, session, (*changed, Message.of("user", text)), tools)

    @rule(data=st.data())
    def regenerate(self, data: st.DataObject) -> None:
        """A client asks for its last answer again."""
        if self.histories:
            who, session, messages, tools = data.draw(st.sampled_from(self.histories[-8:]))
            self._run(who, session, messages[:-1], tools)

    @rule(data=st.data(), text=WORDS)
    def compact(self, data: st.DataObject, text: str) -> None:
        """A client drops the beginning of its history."""
        if self.histories:
            who, session, messages, tools = data.draw(st.sampled_from(self.histories[-8:]))
            self._run(who, session, (*messages[2:], Message.of("user", text)), tools)

    @rule(failure=st.sampled_from(["lost", "busy"]))
    def fail_next(self, failure: str) -> None:
        """The next turn fails: before the service took it, or after."""
        is_lost = failure == "lost"
        self.service.fails = ConnectionLostError("lost") if is_lost else RateLimitError("busy")

    @rule()
    def forget(self) -> None:
        """The service forgets all conversations, and says so when one is named."""
        self.service.heads.clear()
        self.service.nodes.clear()
        if self.keeping.id == "client":  # it would take the id for a new conversation
            self.heads = MemoryHeads()
            self.path = None
            self._wrap()

    @rule()
    def forget_silently(self) -> None:
        """The service answers the next turn in another conversation than the one named."""
        if self.keeping.id == "service":
            self.service.forgets_silently = True

    @rule()
    def restart(self) -> None:
        """Berlin starts anew: memory is lost, a file is not."""
        self.loop.run_until_complete(self.heads.aclose())
        self._open()

    @rule()
    def lose_store(self) -> None:
        """The store loses all it knew."""
        if self.path is None:
            self._open()
        elif self.path.exists():
            with sqlite3.connect(self.path) as file:
                file.execute("create table if not exists heads (a)")
                file.execute("delete from heads")
            file.close()

    def teardown(self) -> None:
        """Close what is open."""
        if hasattr(self, "heads"):
            self.loop.run_until_complete(self.heads.aclose())
        self.loop.close()
        self.folder.cleanup()


TestConversationsMachine = ConversationsMachine.TestCase
TestConversationsMachine.settings = settings(max_examples=100, stateful_step_count=25)


async def test_what_is_new_is_all_that_is_sent() -> None:
    """Ten turns of one client are one conversation at the service, and each sends one message."""
    service = RememberingService(KeepingMap())
    provider = Conversations(service, KeepingMap(), MemoryHeads())
    messages: tuple[Message, ...] = (Message.of("system", "Be kind."), Message.of("user", "hello"))
    for turn in range(10):
        service.expected = _seen(messages)
        answer = await answered(provider, ChatRequest(messages))
        # Clients write answers anew: without outer blanks, in several parts.
        said = Message.of("assistant", f" {answer.text}\n")
        for node, seen in service.nodes.items():
            service.nodes[node] = (*seen[:-1], *_seen((said,)))
        messages = (*messages, said, Message.of("user", f"turn {turn}"))
    assert len(service.heads) == 1
    assert service.sent == 2 + 9


async def test_two_requests_at_once_are_two_conversations() -> None:
    """The second of two that go on from one point gets a conversation of its own, with all."""
    service = RememberingService(KeepingMap())
    provider = Conversations(service, KeepingMap(), MemoryHeads())
    first = (Message.of("user", "hello"),)
    service.expected = _seen(first)
    answer = await answered(provider, ChatRequest(first))
    history = (*first, Message("assistant", answer.parts), Message.of("user", "go"))
    service.expected = _seen(history)
    one, two = (provider.bursts(ChatRequest(history)) for _ in range(2))
    await anext(aiter(one))
    await anext(aiter(two))
    assert len(service.heads) == 2
    assert service.sent == 1 + 1 + 3
    await one.aclose()
    await two.aclose()


async def test_the_callers_own_conversation_is_left_alone() -> None:
    """A request that names a conversation goes to the service as it is."""
    service = RememberingService(KeepingMap(id="client"))
    provider = Conversations(service, KeepingMap(), MemoryHeads())
    request = ChatRequest((Message.of("user", "hi"),), conversation_id="mine")
    service.expected = _seen(request.messages)
    bursts = [burst async for burst in provider.bursts(request)]
    assert msgspec.structs.asdict(bursts[-1][-1])["message_id"] == "m0"
    assert list(service.heads) == ["mine"]
