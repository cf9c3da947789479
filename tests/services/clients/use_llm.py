"""The command `llm`, with a configuration of its own. Usage: python use_llm.py URL KEY MODEL."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from told import PROMPT, asked, tell

URL, KEY, MODEL = asked()
# Options and values of `extra-openai-models.yaml` as its documentation lists them.
MODELS = f"""- model_id: ours
  model_name: {MODEL}
  api_base: {URL}/v1
  api_key_name: ours
"""

with tempfile.TemporaryDirectory() as folder:
    Path(folder, "extra-openai-models.yaml").write_text(MODELS)
    Path(folder, "keys.json").write_text(f'{{"ours": "{KEY}"}}')
    command = [str(Path(sys.executable).with_name("llm")), "-m", "ours"]
    environ = {**os.environ, "LLM_USER_PATH": folder}

    def said(*more: str) -> list[object]:
        ended = subprocess.run(
            [*command, *more], env=environ, capture_output=True, text=True, timeout=50, check=False
        )
        return [ended.returncode, ended.stdout, ended.stderr[-500:]]

    tell(
        stream=said(PROMPT),
        whole=said("--no-stream", PROMPT),
        key=said("--key", "wrong", PROMPT)[0],
    )
