"""How much to reason, as efforts and as budgets: dialects say one or the other."""

from __future__ import annotations

from berlin.types import ChatRequest, Reasoning

EFFORT_BUDGETS: dict[str, int] = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16384,
    "xhigh": 32768,
    "max": 32768,
}
"""Tokens that stand for an effort, where a service counts them."""

_EFFORTS = ((4096, "low"), (16384, "medium"))


def reasoning_of(request: ChatRequest) -> Reasoning | None:
    """Return how much a request asks to reason, also where that is an option by its usual name."""
    effort = request.options.get("reasoning_effort")
    if request.reasoning is None and isinstance(effort, str) and effort:
        return Reasoning(effort)
    return request.reasoning


def budget_of(reasoning: Reasoning) -> int | None:
    """Return the tokens for reasoning; 0 is none at all, `None` says nothing."""
    if reasoning.budget_tokens is not None:
        return reasoning.budget_tokens
    if reasoning.effort == "none":
        return 0
    return EFFORT_BUDGETS.get(reasoning.effort)


def effort_of(reasoning: Reasoning) -> str:
    """Return the effort; `""` says nothing."""
    budget = reasoning.budget_tokens
    if reasoning.effort or budget is None:
        return reasoning.effort
    if budget <= 0:
        return "none"
    return next((effort for limit, effort in _EFFORTS if budget < limit), "high")
