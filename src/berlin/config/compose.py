"""From a described service to what answers for it: tools over text, conversations."""

from __future__ import annotations

from berlin.config.resolve import Settings
from berlin.providers.contract import Provider


def compose(provider: Provider, settings: Settings) -> Provider:
    """Return a provider with what its recipe says it needs; the same one if that is nothing.

    Raises:
        ConfigurationError: if the conversations cannot be kept where the configuration says.
    """
    recipe = settings.recipe
    # Each is loaded by those who need it.
    if recipe.tools_mode != "native":
        from berlin.routing.tools_over_text import ToolsOverText

        provider = ToolsOverText(
            provider,
            recipe.tools_mode,
            recipe.tool_prompt,
            takes_images="images" in recipe.models.capabilities,
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
