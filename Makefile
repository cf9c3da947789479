# Berlin: everything a newcomer or CI runs. `make help` lists it.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV   ?= .venv
SERVICES ?= .venv-services
AGENTS ?= .venv-agents
TOOLS_ENV ?= .venv-bench-tools
HEAVY ?= .venv-heavy
BIN    := $(VENV)/bin
UV     := $(BIN)/uv
PROMPT ?= What is Berlin?
export UV_NO_PROGRESS := 1
# As pip does: behind a company's proxy only the system knows its certificate.
export UV_SYSTEM_CERTS ?= 1

# Compiled on install: an uncompiled import is several times slower.
INSTALL := $(UV) pip install --quiet --python $(BIN)/python --compile-bytecode

.PHONY: help chat test test-services agents check format guarantees soak bench bench-tools bench-routing instructions reference lock clean
.PHONY: test-heavy siege fleet prices dist pythons advisories

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Berlin needs Python 3.11 or newer; try: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -m venv --without-pip $(VENV)
	@$(PYTHON) -m pip --python $(BIN)/python install --quiet --require-hashes -r requirements/uv.txt

$(VENV)/.run: requirements/run.txt pyproject.toml | $(UV)
	@$(INSTALL) --require-hashes -r requirements/run.txt
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@

chat: $(VENV)/.run ## ask the built-in guide: make chat PROMPT="How do I add my own service?"
	@PROMPT_TEXT=$$(printf '%s' "$$BERLIN_PROMPT"); $(BIN)/berlin chat -m embedded "$$PROMPT_TEXT" </dev/null
chat: export BERLIN_PROMPT = $(PROMPT)

test: $(VENV)/.dev ## run the suite; programs of others have groups of their own
	@sh tests/system_packages.sh
	@$(BIN)/python -m pytest -n 4 --dist worksteal -q  # tests wait for half of their time
# Otherwise each worker compiles every test again.
test: export PYTHONDONTWRITEBYTECODE =

test-services: $(VENV)/.dev $(SERVICES)/.installed ## run the tests with services and clients that other people wrote
	@sh tests/system_packages.sh services
	@$(BIN)/python -m pytest -q tests/services

test-heavy: $(VENV)/.dev $(HEAVY)/.installed ## run the tests with services that take long to install
	@$(BIN)/python -m pytest -q -n 0 tests/heavy

$(HEAVY)/.installed: requirements/heavy-chainlit.txt requirements/heavy-open-webui.txt requirements/bench-litellm.txt \
  $(HEAVY)/node/.installed | $(UV)
	@$(UV) venv --quiet --clear --python $(BIN)/python $(HEAVY)/chainlit
	@$(UV) pip install --quiet --python $(HEAVY)/chainlit/bin/python --require-hashes -r requirements/heavy-chainlit.txt
	@$(UV) venv --quiet --clear --python $(BIN)/python $(HEAVY)/open-webui
	@$(UV) pip install --quiet --python $(HEAVY)/open-webui/bin/python --require-hashes --no-deps -r requirements/heavy-open-webui.txt
	@$(UV) venv --quiet --clear --python $(BIN)/python $(HEAVY)/litellm
	@$(UV) pip install --quiet --python $(HEAVY)/litellm/bin/python --require-hashes -r requirements/bench-litellm.txt
	@touch $@

$(HEAVY)/node/.installed: requirements/heavy-node.txt tests/heavy/node/install.sh | $(UV)
	@$(UV) venv --quiet --clear --python $(BIN)/python $(HEAVY)/node
	@$(UV) pip install --quiet --python $(HEAVY)/node/bin/python --require-hashes -r requirements/heavy-node.txt
	@sh tests/heavy/node/install.sh $(abspath $(HEAVY))/node
	@touch $@

# Other people's programs, in an environment of their own: nothing of them is part of Berlin.
$(SERVICES)/.installed: requirements/services.txt tests/services/clients/node/package-lock.json | $(UV)
	@$(UV) venv --quiet --clear --python $(BIN)/python $(SERVICES)
	@$(UV) pip install --quiet --python $(SERVICES)/bin/python --require-hashes -r requirements/services.txt
	@cd tests/services/clients/node && PATH="$(abspath $(SERVICES))/bin:$$PATH" npm ci --silent
	@touch $@

agents: $(VENV)/.dev $(AGENTS)/.installed ## let Codex, Claude Code, opencode and aider fix a bug through a text-only chat
	@AGENTS=$(abspath $(AGENTS)) PYTHONPATH=tests $(BIN)/python -m agents.run $(ONLY)

$(AGENTS)/.installed: requirements/agents.txt tests/agents/node/package-lock.json | $(UV)
	@$(UV) venv --quiet --clear --python $(BIN)/python $(AGENTS)
	@$(UV) pip install --quiet --python $(AGENTS)/bin/python --require-hashes -r requirements/agents.txt
	@cd tests/agents/node && PATH="$(abspath $(AGENTS))/bin:$$PATH" && npm ci --silent && \
	  node node_modules/@anthropic-ai/claude-code/install.cjs
	@touch $@

check: $(VENV)/.dev ## format, lint, types, layers, known weaknesses of the pinned packages
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python packaging/advisories.py

advisories: $(VENV)/.dev ## compare the pins with a copy of a database: make advisories DATABASE=folder
	@$(BIN)/python packaging/advisories.py --database "$(DATABASE)"

format: $(VENV)/.dev ## format and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

guarantees: $(VENV)/.dev ## try each guarantee about tokens and print a table
	@sh tests/system_packages.sh
	@PYTHONPATH=tests $(BIN)/python tests/guarantees.py

soak: $(VENV)/.dev ## 20,000 requests to a gateway, a quarter of whose clients leave
	@PYTHONPATH=tests $(BIN)/python tests/soak.py

bench: $(VENV)/.dev ## measure Berlin beside its limit and its peers, and write docs/performance.md
	@$(BIN)/python bench/run.py $(BENCH)

bench-tools: $(VENV)/.dev ## how often a model calls the right tool over text: make bench-tools PROVIDER=work
	@[ -n "$(PROVIDER)" ] || $(MAKE) --no-print-directory $(TOOLS_ENV)/.installed
	@TOOLS_ENV=$(TOOLS_ENV) $(BIN)/python bench/of_tools.py $(PROVIDER)

$(TOOLS_ENV)/.installed: requirements/bench-tools.txt | $(UV)
	@$(UV) venv --quiet --clear --python $(BIN)/python $(TOOLS_ENV)
	@$(UV) pip install --quiet --no-deps --python $(TOOLS_ENV)/bin/python --require-hashes -r requirements/bench-tools.txt
	@touch $@

bench-routing: $(VENV)/.dev ## play one bad hour for each way of routing, and write the table of docs/routing.md
	@PYTHONPATH=tests $(BIN)/python bench/routing.py

instructions: $(VENV)/.dev ## count the instructions of a fixed load; they may not grow
	@sh tests/system_packages.sh
	@$(BIN)/python bench/instructions.py

reference: $(VENV)/.dev ## write docs/recipes-reference.md, docs/dialects.md, and the help texts of docs/cli.md
	@$(BIN)/python packaging/recipes_reference.py > docs/recipes-reference.md
	@$(BIN)/python packaging/dialects.py > docs/dialects.md
	@PYTHONPATH=tests $(BIN)/python -m support.cli_help docs/cli.md

prices: $(UV) ## write the list prices that ship, from the newest data of genai-prices
	@$(UV) run --quiet --no-project --with genai-prices python packaging/prices.py

fleet: $(VENV)/.dev ## two hosts of workers on Redis and PostgreSQL, attacked and compared: make fleet FLEET=50000
	@sh tests/system_packages.sh
	@PYTHONPATH=tests $(BIN)/python -m fleet.run
fleet: export FLEET ?= 3000

siege: $(VENV)/.dev ## 1,000 right answers from a gateway under every attack at once
	@PYTHONPATH=tests $(BIN)/python tests/siege.py

pythons: $(UV) ## run the quick tests with each supported Python found here, and with the oldest dependencies
	@sh tests/pythons.sh $(UV) $(ONLY)

dist: $(VENV)/.dev ## build wheel, archive and SBOM, twice, with the same hashes
	@$(BIN)/python packaging/dist.py

lock: $(UV) ## make the hash-pinned requirements again from pyproject.toml
	@$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  requirements/uv.in -o requirements/uv.txt
	@$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  pyproject.toml requirements/build.in -o requirements/run.txt
	@$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --all-extras --group dev pyproject.toml requirements/build.in -c requirements/run.txt -o requirements/dev.txt
	@$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --extra gateway --extra redis --extra ledger --extra otel --extra socks --extra jwt pyproject.toml requirements/build.in \
	  -c requirements/dev.txt -o requirements/gateway.txt
	@$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  requirements/services.in -o requirements/services.txt
	@$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  requirements/heavy-chainlit.in -o requirements/heavy-chainlit.txt
	@$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  requirements/heavy-node.in -o requirements/heavy-node.txt
	@$(UV) pip compile -q --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  --override requirements/heavy-open-webui.overrides requirements/heavy-open-webui.in -o requirements/heavy-open-webui.txt
	@$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  requirements/agents.in -o requirements/agents.txt
	@$(UV) pip compile -q --no-deps --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	  requirements/bench-tools.in -o requirements/bench-tools.txt
	@for peer in openai litellm any-llm g4f httpx; do \
	  $(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
	    requirements/bench-$$peer.in -o requirements/bench-$$peer.txt || exit 1; done

clean: ## remove what was built
	@rm -rf $(VENV) $(SERVICES) $(AGENTS) $(TOOLS_ENV) $(HEAVY) .venv-pythons tests/agents/node/node_modules .venv-bench tests/services/clients/node/node_modules bench/gateways/node/node_modules dist build .mypy_cache .ruff_cache .hypothesis
