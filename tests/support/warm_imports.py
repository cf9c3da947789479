"""What is imported before a command is forked; see `support.warm`."""

from importlib import import_module

# Those that the commands import only when they are used.
for name in (
    "aiohttp.web",
    "prompt_toolkit.shortcuts",
    "rich.markdown",
    "berlin.cli.main",
    "berlin.cli.chat.embedded",
    "berlin.gateway.app",
    "berlin.gateway.setup",
):
    import_module(name)
