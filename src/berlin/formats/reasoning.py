"""Converts between reasoning efforts and budgets: dialects use one or the other."""

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
"""The token budget of each effort, for services that use budgets."""

_EFFORTS = ((4096, "low"), (16384, "medium"))


def reasoning_of(request: ChatRequest) -> Reasoning | None:
    """Return the requested reasoning, even if given as an option by its usual name."""
    effort = request.options.get("reasoning_effort")
    if request.reasoning is None and isinstance(effort, str) and effort:
        return Reasoning(effort)
    return request.reasoning


def budget_of(reasoning: Reasoning) -> int | None:
    """Return the tokens for reasoning; 0 is none at all, `None` if unset."""
    if reasoning.budget_tokens is not None:
        return reasoning.budget_tokens
    if reasoning.effort == "none":
        return 0
    return EFFORT_BUDGETS.get(reasoning.effort)


def effort_of(reasoning: Reasoning) -> str:
    """Return the effort; `""` if unset."""
    budget = reasoning.budget_tokens
    if reasoning.effort or budget is None:
        return reasoning.effort
    if budget <= 0:
        return "none"
    return next((effort for limit, effort in _EFFORTS if budget < limit), "high")
