"""What services say of errors becomes the right class, with their words."""

from __future__ import annotations

import re

import pytest

from berlin import errors
from berlin.workbench.replay import replay
from support.transcripts import with_answer


@pytest.mark.parametrize(
    ("name", "status", "body", "kind", "said"),
    [
        (
            "openai",
            401,
            '{"error":{"message":"Incorrect API key provided.","code":"invalid_api_key"}}',
            errors.AuthenticationError,
            "the service answers 401: Incorrect API key provided.",
        ),
        (
            "openai",
            429,
            '{"error":{"message":"Rate limit reached","code":"rate_limit_exceeded"}}',
            errors.RateLimitError,
            "the service answers 429: Rate limit reached",
        ),
        (
            "openai",
            400,
            '{"error":{"message":"This model\'s maximum context length is 128000 tokens.",'
            '"code":"context_length_exceeded"}}',
            errors.ContextLengthError,
            "the service answers 400: This model's maximum context length is 128000 tokens.",
        ),
        (
            "openai",
            200,
            'data: {"error":{"message":"The server had an error","code":null}}\n\n',
            errors.ServiceError,
            "the service reports an error: The server had an error",
        ),
        (
            "n8n",
            200,
            '{"type":"begin"}\n{"type":"item","content":"Hi"}\n'
            '{"type":"error","content":"no credit"}\n',
            errors.ServiceError,
            "the service reports an error: no credit",
        ),
        (
            "azure-openai",
            401,
            '{"error":{"code":"401","message":"Access denied due to invalid subscription key."}}',
            errors.AuthenticationError,
            "the service answers 401: Access denied due to invalid subscription key.",
        ),
        (
            "anthropic",
            401,
            '{"error":{"type":"authentication_error","message":"invalid x-api-key"}}',
            errors.AuthenticationError,
            "the service answers 401: invalid x-api-key",
        ),
        (
            "anthropic",
            400,
            '{"type":"error","error":{"type":"invalid_request_error",'
            '"message":"prompt is too long: 208310 tokens > 200000 maximum"}}',
            errors.ContextLengthError,
            "the service answers 400: prompt is too long: 208310 tokens > 200000 maximum",
        ),
        (
            "anthropic",
            529,
            '{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
            errors.ServiceUnavailableError,
            "the service answers 529: Overloaded",
        ),
        (
            "anthropic",
            200,
            'event: error\ndata: {"type":"error","error":{"type":"overloaded_error",'
            '"message":"Overloaded"}}\n\n',
            errors.ServiceUnavailableError,
            "the service reports an error: Overloaded",
        ),
        (
            "gemini",
            429,
            '[{"error":{"code":429,"message":"You exceeded your current quota."}}]',
            errors.QuotaError,
            "You exceeded your current quota.",
        ),
        (
            "ollama",
            404,
            '{"error":"model \'llama3.2\' not found"}',
            errors.RequestRejectedError,
            "the service answers 404: model 'llama3.2' not found",
        ),
        (
            "ollama",
            200,
            '{"error":"an error was encountered while running the model"}\n',
            errors.ServiceError,
            "the service reports an error: an error was encountered while running the model",
        ),
        (
            "mistral",
            401,
            '{"detail":"Unauthorized"}',
            errors.AuthenticationError,
            "the service answers 401: Unauthorized",
        ),
        (
            "mistral",
            400,
            '{"object":"error","message":"Prompt contains 40000 tokens, too large for model with '
            '32768 maximum context length","code":"3051"}',
            errors.ContextLengthError,
            "32768 maximum context length",
        ),
        (
            "deepseek",
            402,
            '{"error":{"message":"Insufficient Balance","code":"invalid_request_error"}}',
            errors.QuotaError,
            "the service answers 402: Insufficient Balance",
        ),
        (
            "deepseek",
            200,
            'data: {"choices":[{"index":0,"delta":{"content":""},'
            '"finish_reason":"insufficient_system_resource"}]}\n\n',
            errors.ServiceUnavailableError,
            "the answer was broken off: insufficient_system_resource",
        ),
        (
            "openrouter",
            200,
            'data: {"id":"gen-1","error":{"code":"server_error","message":"Provider disconnected '
            'unexpectedly"},"choices":[{"index":0,"delta":{"content":""},'
            '"finish_reason":"error"}]}\n\n',
            errors.ServiceUnavailableError,
            "the service reports an error: Provider disconnected unexpectedly",
        ),
        (
            "yandexgpt",
            401,
            '{"error":{"grpcCode":16,"httpCode":401,"message":"Unknown api key","details":[]}}',
            errors.AuthenticationError,
            "the service answers 401: Unknown api key",
        ),
        (
            "yandexgpt",
            200,
            '{"error":{"grpcCode":8,"httpCode":429,"message":"quota limit exceed"}}\n',
            errors.RateLimitError,
            "the service reports an error: quota limit exceed",
        ),
        (
            "dify",
            401,
            '{"code":"unauthorized","message":"Access token is invalid","status":401}',
            errors.AuthenticationError,
            "the service answers 401: Access token is invalid",
        ),
        (
            "dify",
            200,
            'data: {"event":"error","status":400,"code":"provider_quota_exceeded",'
            '"message":"Your quota is exhausted"}\n\n',
            errors.RateLimitError,
            "the service reports an error: Your quota is exhausted",
        ),
        (
            "gradio",
            200,
            'event: error\ndata: {"error": "the model broke", "title": "Error"}\n\n',
            errors.ServiceError,
            "the model broke",
        ),
        (
            "gradio",
            200,
            'event: error\ndata: "404: Not Found"\n\n',
            errors.ServiceError,
            "404: Not Found",
        ),
        (
            "llama-cpp",
            400,
            '{"error":{"code":400,"message":"request (30005 tokens) exceeds the available context '
            'size (2048 tokens), try increasing it","type":"exceed_context_size_error"}}',
            errors.ContextLengthError,
            "exceeds the available context size (2048 tokens)",
        ),
    ],
)
async def test_a_documented_error_is_the_right_one(
    name: str, status: int, body: str, kind: type[errors.BerlinError], said: str
) -> None:
    """What the service says of an error becomes its class and its message."""
    with pytest.raises(errors.BerlinError) as caught:
        await replay(with_answer(name, status, body))
    assert type(caught.value) is kind
    assert said in caught.value.message
    assert caught.value.provider == name


@pytest.mark.parametrize(
    ("name", "status", "body", "said"),
    [
        ("gigachat", 401, '{"code":6,"message":"credentials do not match"}', "do not match"),
        ("open-webui", 400, '{"detail":"The email or password is incorrect."}', "is incorrect"),
        ("gradio", 400, '{"detail":"Incorrect credentials."}', "Incorrect credentials."),
        ("berlin", 200, '{"code":401,"message":"wrong password"}', "wrong password"),
    ],
)
async def test_a_refused_login_says_so(name: str, status: int, body: str, said: str) -> None:
    """Credentials that a service refuses end in an AuthenticationError with its words."""
    with pytest.raises(errors.AuthenticationError, match=re.escape(said)):
        await replay(with_answer(name, status, body, turn=0))
