"""Wraps a described service with what its recipe needs, such as tools over text."""

from __future__ import annotations

from berlin.config.resolve import Settings
from berlin.errors import ConfigurationError
from berlin.providers.contract import Provider
from berlin.providers.http import HttpProvider


def compose(service: Provider, settings: Settings) -> Provider:
    """Return a service with the wrappers its recipe needs; unchanged if it needs none.

    Raises:
        ConfigurationError: if the configured conversation store cannot be used, or the settings
            do not fit together.
    """
    recipe = settings.recipe
    provider = service
    # Imported only where needed.
    if recipe.keep_alive is not None:
        from berlin.routing.keep_alive import KeepAlive

        if not isinstance(service, HttpProvider):
            raise ConfigurationError(
                f"{settings.name}: [keep_alive] keeps the session of one account, but this service "
                "is used on behalf of the callers"
            )
        provider = KeepAlive(service, service.call, recipe.keep_alive)
    stream = recipe.chat.described_stream
    if stream is not None and stream.settle_s is not None:
        from berlin.routing.settle import Settled

        provider = Settled(provider, stream.settle_s)
    if recipe.tools_mode != "native":
        from berlin.routing.tools_over_text import ToolsOverText

        provider = ToolsOverText(
            provider,
            recipe.tools_mode,
            recipe.tool_prompt,
            takes_images=recipe.takes_images,
            takes_json="json" in recipe.models.capabilities,
            keeps_conversations=recipe.conversations is not None,
        )
    if recipe.conversations is not None:
        from berlin.config.conversations import open_heads
        from berlin.routing.conversations import Conversations

        who = settings.credentials.who if settings.credentials else ""
        provider = Conversations(
            provider,
            recipe.conversations,
            open_heads(settings.conversations),
            (settings.name, settings.endpoint.url, who),
        )
    return provider
