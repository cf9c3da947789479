"""Other people's programs, each in an environment of its own. What cannot be had is left out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".venv-bench"
NODE = Path(__file__).parent / "gateways" / "node"


def python_of(peer: str) -> str | None:
    """Return the Python of a peer's environment, made now if need be; `None` if that fails."""
    folder, pins = FOLDER / peer, ROOT / "requirements" / f"bench-{peer}.txt"
    python, made = folder / "bin" / "python", folder / ".installed"
    if made.exists() and made.stat().st_mtime >= pins.stat().st_mtime:
        return str(python)
    uv = str(Path(sys.executable).with_name("uv"))
    commands = (
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)],
        [
            *(uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)),
            *("--require-hashes", "-r", str(pins)),
        ],
    )
    if any(subprocess.run(command, check=False).returncode for command in commands):
        print(f"{peer} cannot be installed here: left out", file=sys.stderr)
        return None
    made.touch()
    return str(python)


def version_of(peer: str, package: str) -> str:
    """Return the version of a package in a peer's environment."""
    pins = (ROOT / "requirements" / f"bench-{peer}.txt").read_text().splitlines()
    found = [line.split("==")[1].split()[0] for line in pins if line.startswith(f"{package}==")]
    return found[0] if found else "?"


def portkey() -> list[str] | None:
    """Return the command of Portkey's gateway, installed now if need be; `None` if that fails."""
    program = NODE / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if not program.exists():
        if not shutil.which("npm"):
            print("Portkey needs npm: left out", file=sys.stderr)
            return None
        subprocess.run(["npm", "ci", "--silent"], cwd=NODE, check=False)
    return ["node", str(program)] if program.exists() else None


def installed(program: str, package: str) -> str | None:
    """Return a program of Debian, installed now if root may do that; `None` if there is none."""
    if not shutil.which(program) and shutil.which("apt-get") and os.geteuid() == 0:
        quiet = {"check": False, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run(["apt-get", "update", "-qq"], **quiet)
        subprocess.run(["apt-get", "install", "-y", "-qq", package], **quiet)
    found = shutil.which(program)
    if found is None:
        print(
            f"{program} is missing (Debian: apt-get install {package}): left out", file=sys.stderr
        )
    return found
