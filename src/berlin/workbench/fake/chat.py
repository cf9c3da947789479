"""The part of a fake that answers chats."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from secrets import token_hex
from typing import Any

import msgspec
from aiohttp import web

from berlin.errors import BerlinError, InvalidRequestError
from berlin.formats.build import path_of
from berlin.formats.contract import ClientCall, Format
from berlin.formats.described.around import AroundFormat
from berlin.formats.described.format import MappedFormat
from berlin.language.backwards import Received, StepReader
from berlin.language.step import Step
from berlin.language.tables.conversation import ConversationMap
from berlin.language.tables.socket import SocketMap
from berlin.language.tables.stream import CompiledStream, StreamMap
from berlin.providers.contract import Provider
from berlin.recipes.recipe import Recipe
from berlin.types import Accumulator, ChatRequest, Finished, Message, StreamEvent, TextDelta
from berlin.wire.framings.connect import CONTENT_TYPE, message_in
from berlin.wire.json import encode_body
from berlin.wire.pointer import set_at
from berlin.workbench.fake.auth import AuthPlay, play_steps
from berlin.workbench.fake.issued import IssuedValues
from berlin.workbench.fake.play import Answer, Play, path_at_fake
from berlin.workbench.fake.socket import FakeSocket


def play_chat(
    recipe: Recipe, provider: Provider, auth: AuthPlay, issued: IssuedValues
) -> list[Play]:
    """Return handlers for a recipe's chat and for the requests before it."""
    format = recipe.format()
    before: list[Play] = []
    chat = _Chat(recipe, provider, format)
    if isinstance(format, MappedFormat | AroundFormat):
        before = play_steps([*format.prepare, *format.after], recipe, issued)
    if isinstance(format, MappedFormat):
        before += play_steps(format.uploads, recipe, issued)
        chat = described = _DescribedChat(recipe, provider, format, issued)
        posts = play_steps(format.meanwhile, recipe, issued)
        before += [Play(p.reader, described.hearing(p.answer)) for p in posts]
    return [Play(p.reader, _checked(p.answer, auth)) for p in (*before, chat.play())]


def _checked(answer: Answer, auth: AuthPlay) -> Answer:
    async def checked(request: web.Request, received: Received) -> web.StreamResponse:
        auth.check(received)
        return await answer(request, received)

    return checked


class _Chat:
    """Answers in a built-in format."""

    def __init__(self, recipe: Recipe, provider: Provider, format: Format) -> None:
        self._recipe = recipe
        self._provider = provider
        self._format = format

    def play(self) -> Play:
        """Return the handler for the chat."""
        return Play(self._reader(), self._answer)

    def _reader(self) -> StepReader:
        path = path_at_fake(self._recipe, path_of(self._recipe.chat))
        return StepReader(Step(path, self._recipe.chat.method), path)

    async def _answer(self, request: web.Request, received: Received) -> web.StreamResponse:
        call = self._format.decode_request(received.body)
        if call.stream:
            return await self._stream(request, call, lambda event: event)
        answer = Accumulator()
        async with aclosing(self._provider.bursts(call.request)) as bursts:
            async for burst in bursts:
                answer.add_all(burst)
        body = self._format.encode_response(call, answer.response())
        return web.Response(body=body, content_type="application/json")

    def _response(self) -> web.StreamResponse:
        headers = {"Content-Type": self._format.content_type, "Cache-Control": "no-cache"}
        return web.StreamResponse(headers=headers)

    async def _stream(
        self,
        request: web.Request,
        call: ClientCall,
        note: Callable[[StreamEvent], StreamEvent],
        response: web.StreamResponse | None = None,
    ) -> web.StreamResponse:
        encoder = self._format.encoder(call)
        response = response or self._response()
        try:
            async with aclosing(self._provider.bursts(call.request)) as bursts:
                async for burst in bursts:
                    data = b"".join(encoder.encode_event(note(event)) for event in burst)
                    if not response.prepared:
                        await response.prepare(request)
                    if data:
                        await response.write(data)
        except BerlinError as error:
            if not response.prepared:
                raise
            await response.write(encoder.encode_error(error))
        await response.write_eof()
        return response


class _DescribedChat(_Chat):
    """Answers as a recipe describes, and keeps the conversations as its service does."""

    def __init__(
        self, recipe: Recipe, provider: Provider, format: MappedFormat, issued: IssuedValues
    ) -> None:
        super().__init__(recipe, provider, format)
        step = format.chat.step
        self._place = StepReader(step, path_at_fake(recipe, step.path))
        # The handshake of a WebSocket has no body: what `json` says is a message on it.
        head = msgspec.structs.replace(step, method="GET", json=None)
        self._handshake = StepReader(head, path_at_fake(recipe, step.path))
        self._handed = issued
        steps = (*format.prepare, format.chat, *format.meanwhile)
        used = {name for step in steps for name in step.used}
        taken = frozenset(name for step in format.uploads for name in step.step.take)
        self._conversation = ConversationMap(recipe.chat.messages, used, taken)
        self._kept: dict[str, tuple[Message, ...]] = {}
        self._asked: set[tuple[str, bytes]] = set()
        self._posted: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def hearing(self, answer: Answer) -> Answer:
        """Return the handler of a request that is sent while the answer's stream is open."""

        async def heard(request: web.Request, received: Received) -> web.StreamResponse:
            response = await answer(request, received)
            self._posted.put_nowait(self._handed.last)
            return response

        return heard

    def _reader(self) -> StepReader:
        return self._place if self._recipe.chat.socket is None else self._handshake

    async def _answer(self, request: web.Request, received: Received) -> web.StreamResponse:
        if self._recipe.chat.socket is not None:
            return await self._answer_socket(request, received, self._recipe.chat.socket)
        sent = self._place.read(opened(received))
        self._handed.check(self._place.names, sent)
        stream = self._recipe.chat.described_stream
        if self._format.poll_s is not None and stream and self._is_new(request, received):
            return web.Response(body=unfinished(stream), content_type="application/json")
        response = None
        if self._recipe.chat.meanwhile:
            response = self._response()
            await response.prepare(request)
            for _ in self._recipe.chat.meanwhile:
                sent = {**await self._posted.get(), **sent}
        call, note = self._call(sent, received)
        return await self._stream(request, call, note, response)

    async def _answer_socket(
        self, request: web.Request, received: Received, described: SocketMap
    ) -> web.StreamResponse:
        socket = FakeSocket(described, self._handed)
        encoder = None
        try:
            body = await socket.question(request)
            sent = self._place.read(msgspec.structs.replace(received, body=body))
            self._handed.check(self._place.names, sent)
            socket.narrow(sent)
            call, note = self._call(sent, received)
            encoder = self._format.encoder(call)
            async with aclosing(self._provider.bursts(call.request)) as bursts:
                async for burst in bursts:
                    await socket.write(b"".join(encoder.encode_event(note(e)) for e in burst))
        except BerlinError as error:
            if encoder is None:
                await socket.response.close(code=4000 + error.http_status)
            else:
                await socket.write(encoder.encode_error(error))
        await socket.response.close()
        return socket.response

    def _call(
        self, sent: dict[str, Any], received: Received
    ) -> tuple[ClientCall, Callable[[StreamEvent], StreamEvent]]:
        """Return the client's request, and a function that records each event of the answer."""
        back = self._handed.recall([*sent.values(), *received.cookies.values()])
        form = self._recipe.chat.messages.form
        carried = "messages" if form == "array" else "prompt"
        values = {**back, **sent} if carried in back else {**self._handed.last, **back, **sent}
        if carried not in values:
            raise InvalidRequestError.about(carried, "missing in this request")
        conversation = str(values.get("conversation_id") or token_hex(12))
        before = self._kept.get(conversation, ()) if form == "last" else ()
        messages = (*before, *self._conversation.decode(values))
        text: list[str] = []

        def note(event: StreamEvent) -> StreamEvent:
            if isinstance(event, TextDelta):
                text.append(event.text)
            if not isinstance(event, Finished):
                return event
            self._kept[conversation] = (*messages, Message.of("assistant", "".join(text)))
            message = token_hex(12)
            self._handed.add("conversation_id", conversation)
            self._handed.add("parent_id", message)
            return Finished(event.reason, conversation, message)

        return ClientCall(ChatRequest(messages, str(values.get("model", "")))), note

    def _is_new(self, request: web.Request, received: Received) -> bool:
        """Whether a request comes for the first time; the second time its answer is complete."""
        question = (request.raw_path, received.body)
        self._asked ^= {question}
        return question in self._asked


def opened(received: Received) -> Received:
    """Return a request of the Connect protocol without its envelope; others as they are."""
    if received.headers.get("content-type") != CONTENT_TYPE:
        return received
    return msgspec.structs.replace(received, body=message_in(received.body))


def unfinished(described: StreamMap) -> bytes:
    """Return the answer of a polled service that is still working."""
    stream = CompiledStream(described, is_polled=True)
    document: dict[str, Any] = {}
    set_at(document, stream.text[0], "")
    if stream.kind is not None:
        words = [word for word, means in described.kinds.items() if means in ("text", "replace")]
        set_at(document, stream.kind, words[0] if words else "working")
    if described.unfinished:
        set_at(document, stream.finish_reason[0], described.unfinished[0])
    return encode_body(document)
