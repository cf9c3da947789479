"""The tables `[models.NAME]`: what they say, and what is wrong with them, with the line."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from berlin import errors
from berlin.config import load_config
from berlin.config.models.routes import Routes
from berlin.errors import ConfigurationError
from berlin.providers.contract import Provider
from berlin.providers.scripted import ScriptedProvider
from berlin.routing.balance import Balance
from berlin.routing.base.load import Load
from berlin.routing.cache import Cache
from berlin.routing.fallback import Fallback
from berlin.routing.hedge import Hedge
from berlin.routing.hold import Hold
from berlin.routing.limit import Limit
from berlin.routing.pool import Pool
from berlin.routing.retry import Retry
from berlin.types import ChatRequest, Finished, Started

PROVIDERS = """
[providers.work]
recipe = "openai"
api_key = "k1"
[providers.vendor]
recipe = "openai"
api_key = "k2"
models = ["gpt-5"]
"""


def load(tmp_path: Path, text: str, providers: str = PROVIDERS):
    """Return the configuration of a text with two providers before it."""
    path = tmp_path / "berlin.toml"
    path.write_text(providers + text, "utf-8")
    return load_config(path)


SMART = """
[models.smart]
fallback = ["work:gpt-4", { model = "vendor:gpt-5", prefill = true }]
retry = { attempts = 2 }
limit = { concurrent = 8, tokens_per_minute = 90_000 }
first_event_s = 15
idle_s = 20
break_after_text = "continue"
"""


async def test_a_fallback(tmp_path: Path) -> None:
    """The table of the documentation, and what it does: retries, then the next, with its limits."""
    config = load(tmp_path, SMART)
    opened: dict[str, ScriptedProvider] = {
        "work": ScriptedProvider([errors.ServiceUnavailableError("down", retry_after=0)]),
        "vendor": ScriptedProvider(["Hello", Finished()]),
    }
    model = Routes(config, opened.__getitem__).open("smart")
    assert isinstance(model, Limit)
    assert isinstance(model.inner, Fallback)
    assert model.inner.break_after_text == "continue"
    (burst, _) = [burst async for burst in model.bursts(ChatRequest.of("Hi"))]
    started = burst[0]
    assert isinstance(started, Started)
    assert (started.provider, started.model, started.attempts) == ("vendor", "gpt-5", 3)
    asked = opened["work"].requests
    assert [request.model for request in asked] == ["gpt-4"] * 2
    assert asked[0].timeouts is not None
    assert (asked[0].timeouts.first_event, asked[0].timeouts.idle) == (15, 20)


@pytest.mark.parametrize(
    ("table", "kind"),
    [
        ('use = "work:m"\nbreak_after_text = "hold"', Hold),
        ('balance = ["work:m", { model = "vendor:gpt-5", weight = 3 }]\nby = "busy"', Balance),
        ('use = "work:m"\nhedge = { budget_percent = 10 }', Hedge),
        ('use = "work:m"\ncache = { keep_s = 60 }', Cache),
        ('pool = ["work:gpt-5", "vendor:gpt-5"]', Pool),
    ],
)
def test_each_kind(tmp_path: Path, table: str, kind: type[Provider]) -> None:
    """Each key of a table is the wrapper of its name."""
    config = load(tmp_path, f"[models.m]\n{table}\n")
    assert isinstance(Routes(config, lambda _: ScriptedProvider()).open("m"), kind)


def test_models_of_models(tmp_path: Path) -> None:
    """An entry may be another model, which is made once; accounts share their circuit."""
    text = '[models.a]\nfallback = ["b", "vendor"]\n[models.b]\nuse = "work"\n'
    routes = Routes(load(tmp_path, text), lambda _: ScriptedProvider())
    model = routes.open("a")
    assert isinstance(model, Fallback)
    assert model.providers[0] is routes.open("b")
    assert routes.states == {"work": "closed", "vendor": "closed"}


def test_limits_of_a_provider_are_shared(tmp_path: Path) -> None:
    """The limit of an account holds over all models that use it, and for itself."""
    text = '[models.a]\nuse = "work:x"\n[models.b]\nuse = "work:y"\n'
    providers = PROVIDERS.replace('"k1"', '"k1"\nlimit = { concurrent = 1, wait_s = 0 }')
    inner = ScriptedProvider(["a", 0.2, Finished()])
    routes = Routes(load(tmp_path, text, providers), lambda _: inner)

    async def ask(provider: Provider) -> str:
        try:
            async for _ in provider.bursts(ChatRequest.of("Hi")):
                pass
        except errors.LimitReachedError as error:
            return error.code
        return "ok"

    async def scenario() -> list[str]:
        three = (routes.open("a"), routes.open("b"), routes.limited("work", inner))
        return await asyncio.gather(*(ask(provider) for provider in three))

    assert asyncio.run(scenario()) == ["ok", "limit_reached", "limit_reached"]


@pytest.mark.parametrize(
    ("table", "longest"),
    [
        ('use = "work"', [30]),
        ('fallback = ["work", "vendor"]', [2, 30]),
        ('balance = ["work", "vendor"]', [2, 2]),
        ('fallback = ["work", "vendor"]\nretry = { longest_wait_s = 9 }', [9, 9]),
    ],
)
def test_nobody_waits_while_another_can_answer(
    tmp_path: Path, table: str, longest: list[float]
) -> None:
    """A long `Retry-After` is waited for only where no other entry is left."""
    model = Routes(load(tmp_path, f"[models.m]\n{table}"), lambda _: ScriptedProvider()).open("m")
    entries = model.providers if isinstance(model, Fallback) else [model]
    entries = [entry.inner if isinstance(entry, Load) else entry for entry in entries]
    assert [entry.longest_wait_s for entry in entries if isinstance(entry, Retry)] == longest


async def test_state_outlives_a_reload(tmp_path: Path) -> None:
    """Limits, circuits and answers of unchanged tables go on in the next configuration."""
    text = '[models.a]\nuse = "work:x"\nlimit = { requests_per_minute = 1, wait_s = 0 }\n'
    text += 'retry = { attempts = 1 }\n[models.kept]\nuse = "vendor"\ncache = {}\n'
    providers = PROVIDERS.replace('"k1"', '"k1"\nbreaker = { failures = 1, cool_down_s = 60 }')
    inner = ScriptedProvider([errors.ServiceUnavailableError("down")], ["a", Finished()])
    before = Routes(load(tmp_path, text, providers), lambda _: inner)
    with pytest.raises(errors.ServiceUnavailableError):
        await before.open("a").ask("Hi")
    await before.open("kept").ask("Hi")
    config = load(tmp_path, text + '[models.new]\nuse = "work"', providers)
    after = Routes(config, lambda _: inner, counters=before.counters, before=before)
    with pytest.raises(errors.LimitReachedError):
        await after.open("a").ask("Hi")
    with pytest.raises(errors.CircuitOpenError):
        await after.open("new").ask("Hi")
    response = await after.open("kept").ask("Hi")
    assert response.started is not None
    assert (response.started.attempts, len(inner.requests)) == (0, 2)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('[models.a]\nfallback = ["work:x", "nobody:y"]', 10, "'nobody:y' is neither a provider"),
        ('[models.a]\nfallback = ["wrok:x"]', 10, "did you mean 'work'?"),
        ('[models.a]\nuse = "vendor:gpt-6"', 10, "vendor has no model 'gpt-6'; it has: gpt-5"),
        ('[models.a]\nuse = "b"\n[models.b]\nuse = "a"', 10, "in a cycle: a → b → a"),
        ('[models.a]\nuse = "a"', 10, "in a cycle: a → a"),
        ('[models.work]\nuse = "vendor"', 9, "is also the name of a provider or an alias"),
        ('[models.a]\nfallback = ["work:x", "work:x"]', 10, "names the same model twice"),
        ("[models.a]\nretry = { attempts = 2 }", 9, "must be given, not none"),
        ('[models.a]\nuse = "work"\npool = ["work"]', 9, "not use and pool"),
        ("[models.a]\nfallback = []", 9, "fallback is empty"),
        ('[models.a]\nfallbak = ["work"]', 10, "did you mean 'fallback'?"),
        ('[models.a]\nuse = "work"\nbreak_after_text = "continue"', 9, "needs fallback or bal"),
        (
            '[models.a]\nfallback = ["work", "vendor"]\nbreak_after_text = "continue"',
            9,
            "prefill = true",
        ),
        ('[models.a]\nuse = "work"\nby = "busy"', 9, "by is only for balance"),
        ('[models.a]\nuse = { model = "work", weight = 2 }', 9, "weight is only for balance"),
        ('[models.a]\npool = ["work:gpt-5", "vendor:gpt-5"]\nhedge = {}', 9, "second account"),
        ('[models.a]\npool = ["guide", "work"]', 10, "consists of providers with accounts"),
        ('[models.a]\npool = ["work:x", "vendor:gpt-5"]', 10, "use the same model"),
        ("[models.a]\nuse = 7", 10, "use"),
        ('[models.a]\nfallback = "work"', 10, "Expected `array"),
        ('[models.a]\nfallback = ["work", 7]', 10, "fallback"),
        ('[models.a]\nfallback = ["work", { weight = 2 }]', 10, "model"),
        ('[models.a]\nfallback = ["work", { model = "vendor", wait = 2 }]', 10, "wait"),
        ('[models.a]\nfallback = ["work", ""]', 10, "is neither a provider nor a model"),
        ('[models.a]\nbalance = [{ model = "work", weight = 0 }, "vendor"]', 10, "weight`"),
        (
            '[models.a]\nbalance = [{ model = "work", weight = nan }, "vendor"]',
            10,
            "weight`",
        ),
        ('[models.a]\nbalance = ["work", "vendor"]\nby = "luck"', 11, "by"),
        ('[models.a]\nuse = "work"\ncontent_filter = "fallback"', 9, "needs fallback or balance"),
        ('[models."a:b"]\nuse = "work"', 9, "cannot contain ':'"),
        ('[models.""]\nuse = "work"', 9, "name"),
        ('[models.a]\npool = ["work", "a"]', 10, "a pool consists of"),
        ('[models.a]\npool = ["work", "b"]\n[models.b]\nuse = "vendor"', 10, "a pool consists of"),
        ('[models.a]\npool = ["work", "work:x"]', 10, "must use the same model"),
        (
            '[models.a]\nfallback = ["b", "work"]\n[models.b]\nfallback = ["c"]\n'
            '[models.c]\nfallback = ["a", "vendor"]',
            10,
            "in a cycle: a → b → c → a",
        ),
        ('[models.a]\nuse = "work"\n[aliases]\na = "vendor"', 9, "also the name of"),
        (
            '[models.a]\nuse = { model = "work", capabilities = "tools" }',
            10,
            "capabilities",
        ),
        (
            '[models.a]\nuse = { model = "work", capabilities = ["tolls"] }',
            10,
            "Invalid enum value 'tolls'",
        ),
        ('[models.a]\nuse = { model = "work", context_tokens = 0 }', 10, "context_tokens`"),
        ('[models.a]\nuse = { model = "work", prefill = "yes" }', 10, "prefill"),
        (
            '[models.a]\nfallback = ["work", { model = "vendor", prefill = true }]\n'
            'break_after_text = "continue"\nfirst_event_s = "15"',
            12,
            "first_event_s",
        ),
        (
            '[models.a]\nfallback = [{ model = "work", prefill = true }, "vendor"]\n'
            'break_after_text = "continue"',
            9,
            "after the first",
        ),
    ],
)
def test_mistakes(tmp_path: Path, text: str, line: int, said: str) -> None:
    """A mistake is an error when the file is read: with its line, and what is wrong."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text)
    assert said in caught.value.message
    assert f"berlin.toml, line {line}: " in caught.value.message


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("limit = { concurrent = 0 }", "concurrent`"),
        ("limit = {}", "set concurrent, requests_per_minute"),
        ("first_event_s = -1", "first_event_s`"),
        ("first_event_s = nan", "first_event_s`"),
        ('break_after_text = "restart"', "break_after_text"),
        ("limit = { requests_per_minute = -1 }", "requests_per_minute`"),
        ("limit = { tokens_per_minute = 1e400 }", "Expected `int"),
        ("hedge = { after_s = 1e400 }", "after_s`"),
        ("retry = { attempts = 0 }", "attempts`"),
        ("retry = { attempts = 2.5 }", "Expected `int`"),
        ("retry = { longest_wait_s = -1 }", "longest_wait_s`"),
        ("retry = { longest_wait_s = inf }", "longest_wait_s`"),
        ("retry = { attemps = 2 }", "did you mean 'attempts'?"),
        ("retry = 3", "Expected `object`"),
        ("limit = { concurrent = true }", "Expected `int"),
        ("limit = { concurrent = 1, wait_s = -1 }", "wait_s`"),
        ("limit = { concurrent = 1, wait_s = nan }", "wait_s`"),
        ("limit = { concurrent = 1, wait_s = inf }", "wait_s`"),
        ("limit = { concurrent = 1, waiting = -1 }", "waiting`"),
        ("limit = { tokens_per_hour = 1 }", "tokens_per_hour"),
        ("hedge = { budget_percent = 0 }", "budget_percent`"),
        ("hedge = { budget_percent = 101 }", "budget_percent`"),
        ("cache = { keep_s = 0 }", "keep_s`"),
        ("cache = true", "Expected `object"),
        ("idle_s = 0", "idle_s`"),
        ("breaker = { failures = 3 }", "breaker"),
    ],
)
def test_a_mistake_in_a_key(tmp_path: Path, key: str, said: str) -> None:
    """A value that cannot be is an error with the line of its key and the key's name."""
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, f'[models.a]\nuse = "work"\n{key}')
    assert said in caught.value.message
    assert "berlin.toml, line 11: " in caught.value.message


def test_a_pool_of_two_services(tmp_path: Path) -> None:
    """Accounts of different services are not a pool."""
    providers = '[providers.a]\nrecipe = "openai"\napi_key = "k"\n' * 1
    providers += '[providers.b]\nrecipe = "anthropic"\napi_key = "k"\n'
    with pytest.raises(ConfigurationError, match="must belong to one service"):
        load(tmp_path, '[models.m]\npool = ["a:x", "b:x"]\n', providers)
