"""How each agent is started: headless, in a home of its own, with loopback and nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from agents.task import PROMPT

HERE = Path(__file__).parent
ENVIRONMENT = Path(os.environ.get("AGENTS", ".venv-agents")).absolute()
NODE_MODULES = HERE / "node" / "node_modules"
NODE_PROGRAMS = NODE_MODULES / ".bin"
# The program itself, without the script that chooses it by platform.
OPENCODE = NODE_MODULES / "opencode-linux-x64" / "bin" / "opencode"
KEY = "key-of-the-agents"

# Nobody listens there: what a program wants of the internet fails at once.
NOWHERE = "http://127.0.0.1:9"


class Started(NamedTuple):
    """A command line, and what its environment needs besides the usual."""

    command: list[str]
    environment: dict[str, str]


class Program(NamedTuple):
    """An agent.

    Attributes:
        name: its name.
        prepare: writes its configuration into its home, and returns how it is started.
        is_required: whether the proof fails without it.
        side_chats: chats that it begins besides the task, such as for a title.
    """

    name: str
    prepare: Callable[[Path, str], Started]
    is_required: bool
    side_chats: int = 0


def environment_of(home: Path) -> dict[str, str]:
    """Return the environment that every program has."""
    places = [ENVIRONMENT / "bin", "/usr/local/bin", "/usr/bin", "/bin"]
    return {
        "HOME": str(home),
        "PATH": os.pathsep.join(map(str, places)),
        "TERM": "dumb",
        "LANG": "C.UTF-8",
        "CI": "1",
        "HTTP_PROXY": NOWHERE,
        "HTTPS_PROXY": NOWHERE,
        "NO_PROXY": "127.0.0.1,localhost",
    }


def _codex(home: Path, url: str) -> Started:
    folder = home / ".codex"
    folder.mkdir()
    (folder / "config.toml").write_text(
        f"""
model = "proof"
model_provider = "berlin"

[model_providers.berlin]
name = "Berlin"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "BERLIN_KEY"
"""
    )
    program = str(NODE_PROGRAMS / "codex")
    flags = ["--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check"]
    return Started([program, "exec", *flags, PROMPT], {"BERLIN_KEY": KEY})


def _claude(home: Path, url: str) -> Started:
    return Started(
        [str(NODE_PROGRAMS / "claude"), "-p", PROMPT, "--dangerously-skip-permissions"],
        {
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_AUTH_TOKEN": KEY,
            "ANTHROPIC_MODEL": "proof",
            "ANTHROPIC_DEFAULT_HAIKU_MODEL": "proof",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "IS_SANDBOX": "1",  # else it refuses to run as root
        },
    )


def _opencode(home: Path, url: str) -> Started:
    folder = home / ".config" / "opencode"
    folder.mkdir(parents=True)
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Berlin",
        "options": {"baseURL": f"{url}/v1", "apiKey": KEY},
        "models": {"proof": {"name": "proof", "tool_call": True}},
    }
    settings = {
        "model": "berlin/proof",
        "small_model": "berlin/proof",
        "autoupdate": False,
        "share": "disabled",
        "permission": {"edit": "allow", "bash": "allow", "external_directory": "allow"},
        "provider": {"berlin": provider},
    }
    (folder / "opencode.json").write_text(json.dumps(settings))
    return Started(
        [str(OPENCODE), "run", PROMPT],
        {"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"},
    )


def _aider(home: Path, url: str) -> Started:
    flags = [
        "--model=openai/proof",
        f"--openai-api-base={url}/v1",
        f"--openai-api-key={KEY}",
        "--edit-format=diff",
        "--yes-always",
        "--no-check-update",
        "--no-show-model-warnings",
        "--analytics-disable",
        "--no-gitignore",
        "--no-auto-commits",
        "--test-cmd=python3 -m unittest",
        "--auto-test",
        "--map-tokens=0",
        f"--message={PROMPT}",
    ]
    program = str(ENVIRONMENT / "bin" / "aider")
    return Started([program, *flags, "sums.py", "test_sums.py"], {})


PROGRAMS = (
    Program("codex", _codex, is_required=True),
    Program("claude", _claude, is_required=True),
    Program("opencode", _opencode, is_required=False, side_chats=1),
    Program("aider", _aider, is_required=False),
)
