"""Embeddings for clients of OpenAI and Ollama."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from functools import partial

import msgspec

from berlin.errors import BerlinError, InvalidRequestError, ModelNotFoundError
from berlin.formats.embeddings.contract import EmbeddingCall, EmbeddingFormat
from berlin.formats.embeddings.ollama import OllamaEmbeddings, OllamaOldEmbeddings
from berlin.formats.embeddings.openai import OpenAIEmbeddings
from berlin.gateway import web
from berlin.gateway.access.limits.spending import Demand
from berlin.gateway.answering import with_model
from berlin.gateway.catalog import Catalog, Target
from berlin.gateway.chat import Gateway
from berlin.gateway.face import Route
from berlin.types import Usage
from berlin.types.embeddings import Embeddings

# Longer answers are encoded in a thread, so that the loop is not blocked.
LONG_ANSWER_BYTES = 256 * 1024


async def _embed(
    gateway: Gateway, request: web.Request, dialect: EmbeddingFormat
) -> web.StreamResponse:
    visit = request.visit
    key = await gateway.identify(request)
    call = await gateway.receive(request, dialect.decode_request)
    asked = visit.model = call.request.model
    target = _resolve(gateway.catalog, asked)
    gateway.guard.check_model(key, target, asked)
    service = target.service
    visit.provider = service.name
    if service.embedder is None:
        raise InvalidRequestError.about("model", f"{service.name} has no embeddings")
    if not call.request.inputs:  # there is nothing to load
        body = dialect.encode_response(with_model(call, target), Embeddings((), 0))
        return web.Response(body=body, content_type="application/json")
    sent = msgspec.structs.replace(call.request, model=target.model, request_id=visit.id)
    if service.serves_callers:
        sent = msgspec.structs.replace(sent, identity=gateway.guard.identity(request))
    spending = None
    if gateway.limiter.concerns(key):
        estimate = partial(Demand, sent.input_tokens, 0)
        spending = await gateway.limiter.admit(visit, key, target, estimate)
    with service.open, gateway.streams.open:
        async with spending or nullcontext(), service.admission.enter(visit.key or visit.remote):
            if gateway.ledger is not None:
                gateway.ledger.begin(visit, target.model or service.embedder.default, sent)
            used = Usage(sent.input_tokens, estimated=True)
            try:
                answer = await service.embedder.embed(sent)
                if answer.input_tokens is not None:
                    used = Usage(answer.input_tokens)
                visit.usage = used
            except BerlinError:
                used = Usage()  # the service failed
                raise
            finally:  # also if the client has left
                if spending is not None:
                    spending.settle(used)
    body = await _write(dialect, with_model(call, target), answer)
    visit.bytes_out = len(body)
    return web.Response(body=body, content_type="application/json")


def _resolve(catalog: Catalog, asked: str) -> Target:
    """Resolve the model a client names: an embedding model, or any other with this name.

    Raises:
        ModelNotFoundError: if there is no such model.
    """
    for service in catalog.services.values():
        of_service = asked.startswith(f"{service.name}:")
        model = asked.removeprefix(f"{service.name}:").removesuffix(":latest")
        embedder = service.embedder
        if embedder is None or not (of_service or service is catalog.default):
            continue
        if model in (*embedder.models, embedder.default) and model:
            return Target(service, model)
    target = catalog.resolve(asked)
    embedder = target.service.embedder
    names_no_model = asked.removesuffix(":latest") in ("", target.service.name)
    if embedder is None or not names_no_model:
        return target
    if not embedder.default:
        raise ModelNotFoundError(f"{target.service.name}: name a model for embeddings")
    return Target(target.service, embedder.default)


async def _write(dialect: EmbeddingFormat, call: EmbeddingCall, answer: Embeddings) -> bytes:
    write = partial(dialect.encode_response, call, answer)
    if sum(map(len, answer.vectors)) > LONG_ANSWER_BYTES:
        return await asyncio.to_thread(write)
    return write()


_OPENAI = OpenAIEmbeddings()
_DIALECTS: dict[str, EmbeddingFormat] = {
    "/v1/embeddings": _OPENAI,
    "/embeddings": _OPENAI,
    "/api/embed": OllamaEmbeddings(),
    "/api/embeddings": OllamaOldEmbeddings(),
}

ROUTES = tuple(
    Route("POST", path, partial(_embed, dialect=dialect)) for path, dialect in _DIALECTS.items()
)
