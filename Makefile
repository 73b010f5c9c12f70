# Everything a developer does every day. `make help` lists it. Needs make and Python 3.11 or newer, nothing else.
.DEFAULT_GOAL := help
PYTHON_HERE := .venv/bin/python
# Where docker-compose.services.yml puts its parts.
SERVICES := ENGINE=centrifugo \
	DATABASE_URL=postgres://neostack:neostack@127.0.0.1:5433/neostack \
	REDIS_URL=redis://127.0.0.1:6380/0 \
	ENGINE_API_URL=http://127.0.0.1:8001/engine/api \
	ENGINE_CLIENT_URL=ws://localhost:8001/connection/websocket

help: ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-22s %s\n", $$1, $$2}'

run: ## Start everything (PORT=8000 DEMO=1 ENGINE=embedded|process|centrifugo DATABASE_URL= REDIS_URL=)
	@sh scripts/setup
	@exec $(PYTHON_HERE) -m neostack.launcher

run-services: ## The same on PostgreSQL, Redis and Centrifugo in Docker (docker-compose.services.yml)
	@sh scripts/setup
	@env $(SERVICES) $(PYTHON_HERE) -m neostack.launcher engine-config
	docker compose --file docker-compose.services.yml up --detach --wait
	@exec env $(SERVICES) $(PYTHON_HERE) -m neostack.launcher

demo-reset: ## Put the demo back to its start, while nothing runs (asks first)
	@sh scripts/setup
	@$(PYTHON_HERE) -m neostack.launcher demo-reset

engine-stop: ## Pull the plug on the engine of a `make run ENGINE=process`, and watch the pages
	@$(PYTHON_HERE) -m neostack.launcher engine-stop

engine-start: ## Put the plug back
	@$(PYTHON_HERE) -m neostack.launcher engine-start

test: ## Run the whole suite (ARGS="-k words" for a part); says at the end what it could not run here
	@sh scripts/setup --dev
	@$(PYTHON_HERE) -m scripts.run_tests $(ARGS)

bench: ## Measure what the product costs, in three rounds (ARGS="--rounds 1 --only storm")
	@sh scripts/setup --dev
	@$(PYTHON_HERE) -m benchmarks $(ARGS)

lint: ## ruff, mypy, who may import whom, templates
	@sh scripts/setup --dev
	@sh scripts/lint

format: ## Let ruff put the code in order
	@sh scripts/setup --dev
	$(PYTHON_HERE) -m ruff check --fix .
	$(PYTHON_HERE) -m ruff format .

screenshots: ## Take the README's pictures again, from the running product
	@sh scripts/setup --dev
	@$(PYTHON_HERE) -m scripts.screenshots

lock: ## Refresh requirements*.txt from the short lists requirements*.in
	@sh scripts/setup
	@sh scripts/lock

centrifugo: ## Build the real Centrifugo into .local/bin (needs Go)
	@sh scripts/build-centrifugo

clean: ## Forget the demo: remove .local (database, secrets, logs); .venv stays
	rm -rf .local

.PHONY: help run run-services demo-reset engine-stop engine-start test bench lint format screenshots lock centrifugo clean
