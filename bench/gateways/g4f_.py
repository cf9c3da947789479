"""The API of gpt4free over its provider for services of one's own.

python bench/gateways/g4f_.py PORT URL
"""

from __future__ import annotations

import sys

from g4f.api import run_api
from g4f.Provider.needs_auth.Custom import Custom

Custom.base_url = sys.argv[2]
Custom.models = ["bench"]
Custom.default_model = "bench"

if __name__ == "__main__":
    run_api(host="127.0.0.1", port=int(sys.argv[1]), use_colors=False)
