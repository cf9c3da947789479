"""Interactive logins at the terminal."""

from __future__ import annotations

import asyncio
import os
import sys
import webbrowser

from berlin.auth.contract import DeviceCode
from berlin.cli.terminal import say


class TerminalPerson:
    """Shows codes and pages on standard error, and takes a pasted address; see `Person`."""

    def show_code(self, code: DeviceCode) -> None:
        """Show which page to open, and what to enter there."""
        say(f"Open {code.url} and enter the code {code.code}")
        if code.whole_url:
            say(f"or open {code.whole_url}")

    async def open_page(self, url: str, back: str) -> str | None:
        """Open a page in the browser, show its address, and wait for a pasted one."""
        opened = _has_browser() and await asyncio.to_thread(webbrowser.open, url)
        begins = "Your browser opens this page to log in" if opened else "Open this page to log in"
        say(f"{begins}:\n\n{url}\n")
        if not sys.stdin.isatty() or os.name != "posix":
            return None
        say(
            "If that browser runs on another machine, paste here the address where it ends up\n"
            f"(it starts with {back}, and the browser shows an error):"
        )
        return await _line()


def _has_browser() -> bool:
    """Return whether a browser opened here is visible to the user."""
    if os.environ.get("SSH_CONNECTION") or os.environ.get("SSH_TTY"):
        return False
    needs_display = sys.platform not in ("darwin", "win32")
    return not needs_display or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or os.environ.get("BROWSER")
    )


async def _line() -> str | None:
    """Return a line of standard input. Not in a thread: a thread that reads cannot be stopped."""
    loop = asyncio.get_running_loop()
    came: asyncio.Future[None] = loop.create_future()
    descriptor = sys.stdin.fileno()

    def ready() -> None:
        if not came.done():
            came.set_result(None)

    loop.add_reader(descriptor, ready)
    try:
        await came
    finally:
        loop.remove_reader(descriptor)
    return sys.stdin.readline().strip() or None
