"""The guide finds the right section for questions in a newcomer's own words."""

from __future__ import annotations

import re

import pytest

from berlin.providers.guide import GuideProvider, answer, split_sections
from berlin.types import ChatRequest, Finished, TextDelta
from support.guide_questions import ENGLISH as ENGLISH_ASKED
from support.guide_questions import NOTHING as NOTHING_ASKED
from support.guide_questions import RUSSIAN as RUSSIAN_ASKED
from support.guide_questions import Asked

ENGLISH_GREETING = "Hello! I am the built-in guide to Berlin."
NOTHINGS = ("The manual has nothing about “", "В руководстве нет ничего о «")
RUSSIAN_GREETING = "Здравствуйте! Я — встроенный справочник Berlin."

# What is asked, the title of the first section, and a phrase without which it is no answer.
ENGLISH = {
    ("How do I add my own service?", "berlin recipe new"): [
        "How do I add my own service?",
        "how can i add my company's chat?",
        "connect my company chat",
        "add a service",
    ],
    ("What is Berlin?", "into a streaming language model"): [
        "What is Berlin?",
        "what is this",
    ],
    ("How do I use a proxy (corporate network)?", "BERLIN_PROXY="): [
        "use it behind a proxy",
        "How do I use a proxy (corporate network)?",
        "proxy",
    ],
    ("How do I log in or sign in (login)?", "berlin login work"): [
        "login",
        "how do i sign in?",
        "log in to my account",
    ],
    ("How do I use an API key or OAuth?", 'flow = "api-key"'): [
        "How do I use an API key / OAuth?",
        "api key",
        "how do I use oauth",
    ],
    ("How do several processes or people share one login?", 'store = "redis'): [
        "How do several processes or people share one login?",
        "share a login between processes",
        "several replicas one login",
    ],
    ("How do I log out (logout)?", "berlin logout"): ["how do I log out", "log me out please"],
    ("Which errors and exit codes are there, and what do they mean?", "RuntimeError"): [
        "which errors can happen",
        "Which errors and exit codes are there, and what do they mean?",
        "what happens if it fails",
    ],
    ("How do I use it from Python?", "async for piece in berlin.text"): [
        "how do I use it with python",
        "python example",
    ],
    ("How do I run the gateway server (serve or share it with other programs)?", "berlin serve"): [
        "gateway",
        "run a server",
        "how do I share it with other programs",
    ],
    ("How do I install it (Linux, Ubuntu, macOS)?", "pip install '.[gateway]'"): [
        "how to install",
        "installation",
        "setup",
    ],
    ("Which models can I use (list, aliases)?", "berlin chat -m"): [
        "which models are there",
        "list models",
        "model aliases",
    ],
    ("Where are my passwords and tokens kept (stored)?", "logins.json"): [
        "where is my password stored",
        "is my password safe",
        "Where are my passwords and tokens kept?",
    ],
    (
        "Why is my password or key wrong or refused (error 401 Unauthorized)?",
        "AuthenticationError",
    ): [
        "why do I get an error 401?",
        "401 Unauthorized",
        "wrong password",
        "credentials refused",
    ],
    ("How do I set a timeout?", "berlin chat --timeout"): [
        "timeout",
        "it takes too long",
        "how do I set a time limit",
    ],
    ("How do I use it in a notebook or without async?", "ask_sync"): [
        "use in a notebook",
        "without async",
        "synchronous",
    ],
    ("How do I use two or more accounts?", "tokens and connections never mix"): [
        "two accounts",
        "multiple accounts",
    ],
    ("How do I pipe text into it (stdin)?", "git diff | berlin chat"): [
        "pipe a file",
        "read from stdin",
    ],
    ("Can I use it with OpenAI clients (SDK, API)?", "http://127.0.0.1:4114/v1"): [
        "openai",
        "use with the openai sdk",
        "openai compatible api",
        "can I use openai clients",
    ],
    ("Can I use it with Claude Code or Anthropic clients?", "ANTHROPIC_BASE_URL"): [
        "can I use claude code",
        "does it work with claude code",
        "anthropic clients",
    ],
    ("Can I use it with Ollama clients or Open WebUI?", "OLLAMA_HOST"): [
        "can I use ollama clients",
        "use it with open webui",
        "ollama clients",
    ],
    (
        "How do I give out, limit or revoke gateway keys (for clients of berlin serve)?",
        "berlin key add",
    ): [
        "gateway keys",
        "how do I revoke a key",
        "give a client a gateway key",
        "limit a key",
    ],
    ("How do I monitor it: metrics, logs, health?", "/metrics"): [
        "how do I monitor the gateway",
        "prometheus metrics",
        "health and logs of the gateway",
    ],
    (
        "How do I write, check, try or debug a recipe (commands)?",
        "berlin recipe try",
    ): [
        "recipe commands",
        "how do I write a recipe",
        "how do I try a recipe",
        "debug my recipe",
    ],
    (
        "Which services does it support, and which recipes come with Berlin (list: Open WebUI, "
        "Gradio, GigaChat, YandexGPT, Dify …)?",
        'recipe = "gigachat"',
    ): [
        "which recipes come with it",
        "list of recipes",
        "does it have a recipe for gigachat",
    ],
    ("Is it fast (speed and performance)?", "make bench"): ["is it fast", "performance"],
    ("What does it cost and which license does it have?", "MIT license"): [
        "license",
        "how much does it cost",
        "is it free",
    ],
    ("Does it work offline, without internet?", "needs no network"): [
        "offline",
        "without internet",
    ],
    ("How do I set temperature, max_tokens and other options?", "-o temperature"): [
        "temperature",
        "max_tokens",
    ],
    ("What is a recipe?", "a TOML file"): ["what is a recipe", "recipe"],
    ("How do I run the tests?", "make test"): ["how do I run the tests"],
    ("How do I stop or cancel an answer (Ctrl-C)?", "Ctrl-C"): ["how do I stop an answer"],
}
RUSSIAN = {
    ("Что такое Berlin?", "потоковую языковую модель"): ["Что такое Berlin?", "что это такое"],
    ("Как добавить свой сервис?", "berlin recipe new"): [
        "Как добавить свой сервис?",
        "как подключить чат компании",
    ],
    ("Как войти (логин)?", "berlin login work"): ["как войти", "логин"],
    ("Как работать через прокси?", "BERLIN_PROXY="): ["прокси", "через прокси"],
    ("Какие бывают ошибки и что они значат?", "RuntimeError"): [
        "какие есть ошибки",
        "коды ошибок",
    ],
    ("Где хранится пароль и где токены?", "logins.json"): ["где хранится пароль"],
    (
        "Как подключить и использовать ключ API (OpenAI, Anthropic …) или OAuth?",
        'flow = "api-key"',
    ): [
        "ключ api",
        "как использовать oauth",
    ],
    ("Как нескольким процессам пользоваться одним логином?", 'store = "redis'): [
        "несколько процессов, один логин",
    ],
    ("Как установить Berlin?", "pip install '.[gateway]'"): ["как установить", "установка"],
    ("Почему пароль или ключ не принят (ошибка 401, неверный пароль)?", "berlin login work"): [
        "почему 401",
        "неверный пароль",
    ],
    ("Работает ли Berlin на Windows и macOS?", "в Linux"): ["работает ли Berlin на Windows?"],
    ("Как использовать Berlin из Python?", "berlin.text"): [
        "как использовать python",
        "из питона",
    ],
    ("Сколько стоит Berlin и какая у него лицензия?", "MIT"): ["сколько стоит", "лицензия"],
    ("Что такое рецепт?", "файл TOML"): ["что такое рецепт", "рецепт"],
    ("Как написать, проверить и отладить рецепт (команды berlin recipe)?", "berlin recipe try"): [
        "как написать рецепт",
        "проверить рецепт",
        "отладить рецепт",
    ],
    (
        "Какие сервисы поддерживаются: как подключить GigaChat, YandexGPT, Gradio, Dify, vLLM … "
        "(готовые рецепты)?",
        'recipe = "gigachat"',
    ): [
        "гигачат gigachat",
        "как подключить yandexgpt",
        "готовые рецепты",
        "gradio на русском",
        "какие сервисы поддерживаются?",
    ],
    ("Как выдать, ограничить или отозвать ключ шлюза?", "berlin key add"): [
        "ключ шлюза",
        "отозвать ключ",
        "как выдать ключ",
    ],
    ("Как следить за шлюзом: метрики, журнал, состояние?", "/metrics"): [
        "метрики",
        "журнал запросов шлюза",
    ],
    ("Поддерживаются ли клиенты OpenAI?", "http://127.0.0.1:4114/v1"): [
        "клиенты openai",
        "поддерживается ли openai",
    ],
    ("Как подключить Claude Code или клиентов Anthropic?", "ANTHROPIC_BASE_URL"): [
        "как подключить claude code",
        "клиенты anthropic",
    ],
    ("Как подключить Ollama или Open WebUI?", "OLLAMA_HOST"): [
        "как подключить ollama",
        "как подключить open webui",
    ],
    ("Как запустить свой сервер (шлюз) для других программ?", "berlin serve"): [
        "шлюз",
        "свой сервер",
    ],
}
CASES = [
    pytest.param(question, title, phrase, id=question)
    for (title, phrase), questions in (ENGLISH | RUSSIAN).items()
    for question in questions
]


def questions_of(introduction: str) -> list[str]:
    return re.findall(r"^- (.*)$", introduction, re.MULTILINE)


# Another section that answers the question as well.
ALSO = {
    "use it with open webui": "Open WebUI",
    "how do I write a recipe": "berlin recipe: write, check and try recipes",
    "how do I try a recipe": "berlin recipe: write, check and try recipes",
    "which recipes come with it": "The recipes that come with Berlin",
}


@pytest.mark.parametrize(("question", "title", "phrase"), CASES)
def test_the_first_section_answers(question: str, title: str, phrase: str) -> None:
    """The first section has the title that fits, and says the decisive thing."""
    given = answer(question)
    if question in ALSO and given.startswith(f"**{ALSO[question]}**\n"):
        return
    assert given.startswith(f"**{title}**\n")
    assert phrase in given


@pytest.mark.parametrize("asked", [ENGLISH_ASKED, RUSSIAN_ASKED, NOTHING_ASKED])
def test_nine_of_ten_questions_of_users_find_their_section(asked: Asked) -> None:
    """Of questions with typos and in users' words at least 90 % get the right section, or none."""
    missed = [question for question, titles in asked.items() if not is_right(question, titles)]
    assert len(missed) <= len(asked) // 10, missed


def is_right(question: str, titles: str | tuple[str, ...]) -> bool:
    """Tell whether an answer begins with one of the titles, or says that there is none."""
    given = answer(question)
    if not titles:
        return given.startswith(NOTHINGS)
    wanted = (titles,) if isinstance(titles, str) else titles
    return given.startswith(tuple(f"**{title}" for title in wanted))


def test_there_are_enough_questions() -> None:
    """Most are in English, half as many in Russian, and some have no answer."""
    assert [len(asked) for asked in (ENGLISH_ASKED, RUSSIAN_ASKED, NOTHING_ASKED)] == [75, 36, 28]


def test_nothing_names_the_words_and_the_nearest_topics() -> None:
    """Where there is no answer, it says so, about what, and what comes nearest."""
    given = answer("quantum entanglement of a proxy")
    about = "quantum entanglement"
    assert given.startswith(f"The manual has nothing about “{about}”. The nearest topics:\n")
    assert "- How do I use a proxy (corporate network)? (docs/faq.md)\n" in given
    assert "berlin add https://your.service" in given


@pytest.mark.parametrize("question", ["Hello, how are you?", "hi", "", "?!", "thanks"])
def test_a_greeting_gets_the_introduction(question: str) -> None:
    """Without a topic the guide introduces itself in English and proposes questions."""
    given = answer(question)
    assert given.startswith(ENGLISH_GREETING)
    assert "- How do I add my own service?\n" in given
    assert not re.search("[а-яё]", given)


@pytest.mark.parametrize("question", ["Привет, как дела?", "Здравствуйте"])
def test_a_russian_greeting_gets_the_russian_introduction(question: str) -> None:
    """A greeting or nonsense in Cyrillic gets the introduction in Russian, in the same way."""
    given = answer(question)
    assert given.startswith(RUSSIAN_GREETING)
    assert "- Как добавить свой сервис?\n" in given


@pytest.mark.parametrize("greeting", ["Hello", "Привет"])
def test_every_proposed_question_is_answered_by_its_own_section(greeting: str) -> None:
    """Each question that the introduction proposes finds the section of that title."""
    proposed = questions_of(answer(greeting))
    assert len(proposed) >= 12
    missed = [q for q in proposed if not answer(q).startswith(f"**{q}**\n")]
    assert missed == []


def test_only_the_last_question_of_a_conversation_counts() -> None:
    """A conversation that was flattened into one prompt is answered by its last question."""
    flattened = (
        "User: How do I use a proxy?\n\nAssistant: Like this.\n\nUser: license\n\nAssistant:"
    )
    assert answer(flattened).startswith("**What does it cost and which license does it have?**")


def test_an_answer_names_its_source() -> None:
    """An answer says from which page and section it is."""
    assert "\nSource: docs/faq.md, “How do I set a timeout?”\n" in answer("timeout")
    assert "\nИсточник: docs/faq.ru.md, “Как задать таймаут?”\n" in answer("таймаут")


def test_a_section_is_a_heading_with_its_text() -> None:
    """Headings inside code are text, and a heading without text is no section."""
    page = "# Page\n\n## One\n\ntext\n\n```sh\n# no heading\n```\n\n## Empty\n\n### Two\n\nmore\n"
    sections = split_sections("page.md", page)
    assert [(s.page, s.title, s.body) for s in sections] == [
        ("page.md", "One", "text\n\n```sh\n# no heading\n```"),
        ("page.md", "Two", "more"),
    ]


async def test_the_pieces_make_the_answer_and_the_end_comes_once() -> None:
    """The guide streams its answer word by word and ends with one `Finished`."""
    request = ChatRequest.of([{"role": "user", "content": "license"}])
    events = [event async for event in GuideProvider().stream(request)]
    assert events[-1] == Finished()
    assert all(type(event) is TextDelta for event in events[:-1])
    assert len(events) > 20
    pieces = [event.text for event in events if isinstance(event, TextDelta)]
    assert "".join(pieces) == answer("license")
