"""The guide as a provider: it streams the section of the manual that answers a question.

Nothing is made up, because nothing is generated: if the manual has no answer, it says so and names
the nearest topics.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator

from berlin.providers.contract import Burst
from berlin.providers.facade import ChatProvider
from berlin.providers.guide.search import Found, manual
from berlin.providers.guide.words import terms
from berlin.types import ChatRequest, Finished, TextDelta

SHOWN_QUESTIONS = 12
MAX_QUESTION_CHARS = 2000
# A question without any other word asks what Berlin is.
_ASKS_WHAT = re.compile(r"\b(what|who|что|кто)\b", re.IGNORECASE)
_ASKS_ABILITY = re.compile(
    r"\b(what|how)\b.*\b(can|could)\b.*\b(you|it)\b.*\bdo\b|\bwho are you\b|\bумеешь\b|\bможешь\b"
    r"|\bкто ты\b|\bты кто\b",
    re.IGNORECASE,
)


class GuideProvider(ChatProvider):
    """The built-in guide."""

    async def bursts(self, request: ChatRequest) -> AsyncGenerator[Burst]:
        """Stream the section that answers the last message of the user."""
        question = next((m.text for m in reversed(request.messages) if m.role == "user"), "")
        # In a thread: the first question reads and indexes the manual.
        found = await asyncio.to_thread(answer, question)
        for piece in re.findall(r"\S+\s*|\s+", found):
            yield [TextDelta(piece)]
        yield [Finished()]


def answer(question: str) -> str:
    """Return the manual's answer to a question, as Markdown."""
    question = _last_question(question)
    russian = bool(re.search("[а-яё]", question, re.IGNORECASE))
    if _ASKS_ABILITY.search(question) and len(terms(question)) <= 1:
        question = "Что ты умеешь?" if russian else "What can you (this guide) do?"
    elif not terms(question) and _ASKS_WHAT.search(question):
        question = "что такое berlin" if russian else "what is berlin"
    if not terms(question) and not manual(russian).search(question).sections:
        return _introduction(russian)
    found = manual(russian).search(question)
    return _found(found, russian) if found.answers else _nothing(question, found, russian)


def _found(found: Found, russian: bool) -> str:
    best, *others = found.sections
    more = "".join(f"\n- {s.title} ({s.page})" for s in others)
    see, source = ("Смотрите также:", "Источник") if russian else ("See also:", "Source")
    also = f"\n\n{see}\n{more}" if others else ""
    return f"**{best.title}**\n\n{best.body}\n\n{source}: {best.page}, “{best.title}”{also}\n"


def _nothing(question: str, found: Found, russian: bool) -> str:
    """Return the message that the manual has no answer, with the nearest topics."""
    about = " ".join(found.unknown or [word for word, _ in terms(question)])[:80]
    near = [f"{s.title} ({s.page})" for s in found.sections]
    topics = "".join(f"\n- {topic}" for topic in near or manual(russian).questions[:3])
    if russian:
        return (
            f"В руководстве нет ничего о «{about}». Ближайшие темы:\n{topics}\n\n"
            "Я справочник, а не модель. Подключить модель: `berlin add https://ваш.сервис`\n"
        )
    return (
        f"The manual has nothing about “{about}”. The nearest topics:\n{topics}\n\n"
        "I am a guide, not a model. To connect one: `berlin add https://your.service`\n"
    )


def _introduction(russian: bool) -> str:
    questions = "\n".join(f"- {title}" for title in manual(russian).questions[:SHOWN_QUESTIONS])
    greeting = (
        "Здравствуйте! Я — встроенный справочник Berlin. Спросите, например:"
        if russian
        else "Hello! I am the built-in guide to Berlin. You can ask me, for example:"
    )
    return f"{greeting}\n\n{questions}\n"


def _last_question(text: str) -> str:
    """Return the last question of a conversation that was flattened into one prompt."""
    if text.endswith("Assistant:"):
        text = f"\n\n{text}".removesuffix("Assistant:").rpartition("\n\nUser: ")[2]
    return text[-MAX_QUESTION_CHARS:]
