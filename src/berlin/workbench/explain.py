"""Explains in words what a recipe sends and how it reads the responses."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from berlin.auth.attach import Attach, Attachment, attachments
from berlin.auth.flows.aws.table import AwsMap, SsoMap
from berlin.auth.flows.command import CommandMap
from berlin.auth.flows.login import LoginMap
from berlin.auth.flows.oauth2.table import OAuth2Map
from berlin.auth.flows.static import ApiKeyMap, BasicMap, NoneMap
from berlin.formats.contract import Exchange, SessionFormat
from berlin.formats.described.format import MappedFormat
from berlin.language.step import BODIES, CompiledStep, Step
from berlin.language.tables.socket import SocketMap
from berlin.language.tables.stream import StreamMap
from berlin.recipes.recipe import Recipe
from berlin.types import ChatRequest, HttpRequest, Message, Secret
from berlin.types.socket import SocketDialog
from berlin.wire.framings import FRAMINGS
from berlin.wire.sockets import IN_WORDS
from berlin.workbench.parts import POINTERS, in_words, listed

SHOWN = "***"
LONGEST_LIST = 12


def explain(recipe: Recipe, prompt: str = "Hello") -> str:
    """Describe in words what a recipe does, with the requests for one prompt.

    Raises:
        InvalidRequestError: if the service cannot be sent that.
    """
    lines = [f"{recipe.name}: {recipe.description}"]
    for title, part in (
        ("Where", _where(recipe)),
        ("Login", _login(recipe)),
        (f"For the prompt {json.dumps(prompt, ensure_ascii=False)}", _chat(recipe, prompt)),
        ("How the answer is read", _answer(recipe)),
        ("Models", _models(recipe)),
    ):
        lines += ["", title, *(f"  {line}" for line in part)]
    return "\n".join(lines)


def _where(recipe: Recipe) -> Iterator[str]:
    endpoint = recipe.endpoint
    yield endpoint.url
    if recipe.extends:
        yield f"this recipe takes over what it does not say from the shipped one {recipe.extends!r}"
    if endpoint.headers:
        yield f"every request has the headers {', '.join(endpoint.headers)}"
    if endpoint.proxy:
        yield "through a proxy"
    if endpoint.ca_file:
        yield f"only certificates of {endpoint.ca_file} are trusted"
    if endpoint.client_cert:
        yield f"Berlin shows the certificate {endpoint.client_cert}"
    if endpoint.allow_http:
        yield "plain http is allowed: anyone on the network path can read everything"


def _login(recipe: Recipe) -> Iterator[str]:
    auth = recipe.auth
    match auth:
        case NoneMap():
            yield "none: the service asks for nothing"
            return
        case ApiKeyMap():
            yield "an API key, unchanged"
        case AwsMap(sso=SsoMap() as sso):
            yield f"a person enters a code from POST {sso.login_url}/device_authorization"
            yield f"the keys of the role {sso.role}: GET {sso.keys_url}/federation/credentials"
        case AwsMap(keys="container"):
            yield "the keys of this container's role, from the platform (AWS_CONTAINER_…)"
        case AwsMap():
            yield "an AWS access key"
        case BasicMap():
            yield "account and password in each request (HTTP basic authentication)"
        case LoginMap():
            for n, step in enumerate(auth.steps, 1):
                yield from _step(f"{n}.", recipe, step)
            for n, step in enumerate(auth.refresh, 1):
                yield from _step(f"next token, {n}.", recipe, step)
        case OAuth2Map():
            yield f"OAuth 2.0, {auth.grant}: POST {_url(recipe, auth.token_url)}"
            if auth.device_url:
                yield f"a person enters a code from POST {_url(recipe, auth.device_url)}"
            if auth.scope:
                yield f"scope: {auth.scope}"
        case CommandMap():
            yield f"this program is run and prints the token: {shlex.join(auth.command)}"
    yield f"Requests carry it {_attached(auth.attach)}"
    if auth.rejected_statuses:
        statuses = " or ".join(map(str, auth.rejected_statuses))
        yield f"Status {statuses} means that the token is no longer valid; Berlin then gets another"


def _step(number: str, recipe: Recipe, step: Step) -> Iterator[str]:
    yield f"{number} {step.method} {_url(recipe, step.path)}"
    for name, value in (*step.query.items(), *step.headers.items()):
        yield f"   {name}: {value}"
    for encoding in BODIES:
        body = getattr(step, encoding)
        if body is not None:
            yield f"   {encoding}: {json.dumps(body, ensure_ascii=False)}"
    yield from _takes(step)


def _takes(step: Step) -> Iterator[str]:
    for name, place in step.take.items():
        yield f"   takes {name} from {in_words(place)}"


def _attached(attach: Attach) -> str:
    return ", and ".join(map(_attached_one, attachments(attach)))


def _attached_one(attach: Attachment) -> str:
    if attach.sign:
        return f"by a signature for {attach.service} in {attach.region} (AWS Signature Version 4)"
    value = attach.prefix + (SHOWN if attach.value == "{token}" else attach.value)
    if attach.query:
        return f"in the URL, as ?{attach.query}={value}"
    if attach.cookie:
        name = "" if attach.cookie == "*" else f"{attach.cookie}="
        return f"in the header Cookie: {name}{value}"
    return f"in the header {attach.header}: {value}"


def _chat(recipe: Recipe, prompt: str) -> Iterator[str]:
    request = ChatRequest((Message.of("user", prompt),))
    format = recipe.format()
    steps: list[CompiledStep] = []
    if isinstance(format, SessionFormat):
        session = {name: f"{{{name}}}" for name in format.session_names}
        exchange = format.encode_with(request, session)
        if isinstance(format, MappedFormat):
            for upload in format.uploads:
                yield f"for each image and file: {upload.step.method} {upload.step.path}"
                yield from _takes(upload.step)
        steps = format.prepare
    else:
        exchange = format.encode_request(request)
    for step, call in _requests(steps, exchange):
        yield from _request(recipe, _authenticated(recipe, call))
        yield from _takes(step)
        if call.socket is not None and recipe.chat.socket is not None:
            yield from _socket(recipe.chat.socket, call.socket())
        for words, requests in (
            ("once the answer's stream is open", call.meanwhile),
            ("after the answer", call.after),
        ):
            for later in requests:
                yield f"{words}:"
                yield from _request(recipe, _authenticated(recipe, later))
    if recipe.chat.poll_s is not None:
        yield f"again and again, every {recipe.chat.poll_s:g} s, until there is a finish reason"


def _authenticated(recipe: Recipe, call: HttpRequest) -> HttpRequest:
    """Return a request with the credentials that it carries, hidden."""
    if isinstance(recipe.auth, NoneMap) or not call.credentials:
        return call
    for attachment in attachments(recipe.auth.attach):
        shown = {name: f"{{{name}}}" for name in attachment.names}
        call = attachment.apply(call, Secret(SHOWN), shown, recipe.endpoint.url)
    return call


def _socket(described: SocketMap, dialog: SocketDialog) -> Iterator[str]:
    """Describe the messages on a WebSocket, with the question as it will be sent."""
    yield f"   as a WebSocket: {IN_WORDS[described.protocol]}"
    for step in described.before:
        if step.when:
            yield f"   waits for a message with {_members_of(step.when)}"
            yield from (f"   takes {name} from {place}" for name, place in step.take.items())
        if step.send is not None:
            yield f"   sends {json.dumps(step.send, ensure_ascii=False)}"
    values = {name: name.upper() for step in described.before for name in step.take}
    yield f"   sends {json.dumps(dialog.question_with(values), ensure_ascii=False)}"
    for reply in described.replies:
        sent = json.dumps(reply.send, ensure_ascii=False)
        yield f"   answers a message with {_members_of(reply.when)}: {sent}"
    if described.only:
        yield f"   only messages with {_members_of(described.only)} count"
    if described.last is not None:
        yield f"   sends {json.dumps(described.last, ensure_ascii=False)} after the answer"


def _members_of(when: Mapping[str, Any]) -> str:
    return " and ".join(f"{pointer} = {json.dumps(value)}" for pointer, value in when.items())


def _requests(steps: list[CompiledStep], exchange: Exchange) -> Iterator[tuple[Step, HttpRequest]]:
    """Yield the requests of an exchange with their steps; taken values appear as their names."""
    try:
        request = next(exchange)
        for compiled in steps:
            yield compiled.step, request
            values = {name: name.upper() for name in compiled.step.take}
            request = exchange.send(compiled.answer(values))
    except StopIteration as done:
        yield Step(""), done.value


def _request(recipe: Recipe, request: HttpRequest) -> Iterator[str]:
    query = "&".join(f"{name}={_reveal(value)}" for name, value in request.query.items())
    yield f"{request.method} {_url(recipe, request.path)}{'?' if query else ''}{query}"
    for name, value in request.headers.items():
        yield f"   {name}: {_reveal(value)}"
    if request.body:
        yield from (f"   {line}" for line in request.body.decode("utf-8", "replace").splitlines())


def _answer(recipe: Recipe) -> Iterator[str]:
    chat = recipe.chat
    if chat.described_stream is None:
        yield f"as the format {chat.format} has it; Berlin knows that one"
        return
    stream = chat.described_stream
    yield f"it is {FRAMINGS[stream.framing].in_words}"
    texts = " or ".join(listed(stream.text)) or "/data"
    is_whole = stream.text_is == "cumulative"
    yield f"text: at {texts}, {'the whole answer so far' if is_whole else 'piece by piece'}"
    if stream.kind:
        yield f"what kind of object it is: at {stream.kind}"
        for kind, meaning in stream.kinds.items():
            yield f"   {kind}: {_MEANINGS[meaning]}"
        yield "   other kinds are skipped"
    for key, title in POINTERS.items():
        pointers = getattr(stream, key)
        if pointers and key not in ("text", "kind"):
            yield f"{title}: at {' or '.join(listed(pointers))}"
    yield f"it ends with {_ending(stream)}"
    if stream.others == "skip":
        yield "objects in which nothing of this is found are skipped"


_MEANINGS = {
    "text": "text",
    "replace": "text, the whole answer so far",
    "final": "text, the whole answer, and its end",
    "reasoning": "reasoning, at the pointers of the text",
    "end": "the end",
    "error": "an error",
    "skip": "skipped",
}


def _ending(stream: StreamMap) -> str:
    ways = (
        [f"the event {stream.done}"] if FRAMINGS[stream.framing].has_events and stream.done else []
    )
    ways += ["an object of the kind of the end"] if "end" in stream.kinds.values() else []
    ways += ["a finish reason"] if stream.finish_reason else []
    needed = stream.ends == "finish_reason"
    ways += [] if needed and ways else ["the end of the body"]
    return f"{' or '.join(ways)}{'; without, it was cut off' if needed else ''}"


def _models(recipe: Recipe) -> Iterator[str]:
    models = recipe.models
    yield f"asked unless one is named: {models.default or 'none; the service has its own'}"
    if models.list:
        more = f", and {len(models.list) - LONGEST_LIST} more" * (len(models.list) > LONGEST_LIST)
        yield f"known: {', '.join(models.list[:LONGEST_LIST])}{more}"
    if models.fetch:
        yield f"the service lists them: GET {_url(recipe, models.fetch.path)}"
    for alias, name in models.aliases.items():
        yield f"{alias} means {name}"
    besides = dict.fromkeys((*models.capabilities, *(["images"] * recipe.takes_images)))
    if besides:
        yield f"besides text: {', '.join(besides)}"
    match recipe.tools_mode:
        case "emulate":
            yield "tools: offered in the prompt, calls are read out of the text"
        case "ignore":
            yield "tools: dropped, and the answer says so"
        case "refuse":
            yield "tools: refused"
        case "native":
            pass
    if recipe.conversations is not None:
        yield "conversations: kept by the service; only new messages are sent"


def _url(recipe: Recipe, path: str) -> str:
    return path if "://" in path else recipe.endpoint.url.rstrip("/") + path


def _reveal(value: str | Secret) -> str:
    # It contains no real secret: the credentials of an explanation are made up.
    return value.reveal() if isinstance(value, Secret) else value
