# Every command that CI runs is here. `make help` lists them.
SHELL := /bin/sh
.DEFAULT_GOAL := help
CARGO ?= cargo
CRATES := arcane-certs arcane-common arcane-controller arcane-process arcane-webhook arcane-tests arcane-e2e arcane-e2e-worker \
	kubectl-arcane
binaries := -p arcane-controller -p arcane-webhook -p arcane-tests -p kubectl-arcane
FUZZ_SECONDS ?= 600
FUZZ_TARGETS ?= reviews streams templates schemas secrets
control_plane := sh tests/control-plane/build.sh
chart_tools := sh tests/chart-tools/build.sh

.PHONY: help
help: ## What can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

.PHONY: demo
demo: ## The main job, shown step by step on a real control plane
	@$(call beside_control_plane,$(CARGO) build $(binaries) --bins)
	@$(CARGO) run -q -p arcane-tests --bin demo

.PHONY: test
test: verify unit control-plane-tests chart installed ## Everything that CI runs

.PHONY: unit
unit: ## The tests that need no control plane
	$(CARGO) test --workspace

.PHONY: control-plane-tests
control-plane-tests: ## The tests on a real control plane
	@$(call beside_control_plane,$(CARGO) build $(binaries) --bins && \
		$(CARGO) test -p arcane-tests --features control-plane --no-run)
	@# What was built goes to the disk now, and not while the API server waits for it.
	@sync
	$(CARGO) test -p arcane-tests --features control-plane --test harness
	@# These mostly wait for the API server: several at a time, whatever the number of cores. With too many it doesn't answer a
	@# webhook's call in the five seconds that it has.
	$(CARGO) test -p arcane-tests --features control-plane --test api -- --test-threads=8
	$(CARGO) test -p arcane-tests --features control-plane --test admission -- --test-threads=8 --skip racing --skip certificates
	@# Thousands of everything: they would take the time from each other, and from those that count seconds.
	$(CARGO) test -p arcane-tests --features control-plane --test admission -- --nocapture --test-threads=1 racing certificates
	$(CARGO) test -p arcane-tests --features control-plane --test plugins -- --test-threads=8
	@# All of it on the oldest version is for `make oldest`.
	ARCANE_KUBERNETES=oldest $(CARGO) test -p arcane-tests --features control-plane --test api -- --test-threads=8 \
		guide first_backfill suspending job::
	ARCANE_KUBERNETES=oldest $(CARGO) test -p arcane-tests --features control-plane --test admission -- --test-threads=8 \
		registration mutation messages
	@# Hours of reconciles are for `make gitops`, and so is the whole kustomize-controller.
	$(CARGO) test -p arcane-tests --features control-plane --test gitops -- --nocapture --test-threads=2 \
		--skip drift --skip kustomize_controller
	$(CARGO) test -p arcane-tests --features control-plane --test faults -- --nocapture

# Its API server and controller manager are built once, like the others.
.PHONY: oldest
oldest: ## The controller's and the webhook's tests on the oldest Kubernetes that is supported; CI runs a slice of it
	@$(call beside_control_plane,$(CARGO) build $(binaries) --bins && \
		$(CARGO) test -p arcane-tests --features control-plane --no-run)
	ARCANE_KUBERNETES=oldest $(CARGO) test -p arcane-tests --features control-plane --test api -- --test-threads=8
	ARCANE_KUBERNETES=oldest $(CARGO) test -p arcane-tests --features control-plane --test admission -- \
		--test-threads=8 --skip racing --skip certificates
	ARCANE_KUBERNETES=oldest $(CARGO) test -p arcane-tests --features control-plane --test plugins -- --test-threads=8

# Flux's and Argo CD's engines are built from Go modules, once, like helm.
.PHONY: gitops
gitops: ## Fifty random folders (ARCANE_GITOPS) for each of Flux, Argo CD and Helm, a hundred reconciles; CI runs a slice of it
	@$(call beside_control_plane,$(CARGO) build $(binaries) --bins)
	ARCANE_GITOPS=$${ARCANE_GITOPS:-50} $(CARGO) test -p arcane-tests --features control-plane --test gitops -- --nocapture --test-threads=1

# helm, helm-unittest, kubeconform, promtool and cert-manager are built from Go modules, once.
.PHONY: chart
chart: ## The tests of the chart: helm and others that read it, a release's life on a real control plane
	@$(chart_tools) >/dev/null
	@$(call beside_control_plane,$(CARGO) build $(binaries) --bins && \
		$(CARGO) test -p arcane-tests --features control-plane --test chart --no-run)
	$(CARGO) test -p arcane-tests --features control-plane --test chart

.PHONY: faults
faults: ## The whole matrix of faults; a run that is ended is taken up again by the next. CI runs a slice of it
	@$(call beside_control_plane,$(CARGO) build $(binaries) --bins)
	ARCANE_RECORD=1 ARCANE_FAULTS=all $(CARGO) test -p arcane-tests --features control-plane --test faults -- --nocapture whatever

.PHONY: soak
soak: ## Two thousand backfills (ARCANE_SOAK) while the controller is killed at random
	@$(call beside_control_plane,$(CARGO) build $(binaries) --bins)
	ARCANE_RECORD=1 ARCANE_SOAK=$${ARCANE_SOAK:-2000} \
		$(CARGO) test -p arcane-tests --features control-plane --test faults -- --nocapture kills_at_random

.PHONY: races
races: ## Ten thousand templates and their streams, twenty thousand calls over ten authorities; CI runs a slice of it
	@$(call beside_control_plane,$(CARGO) build $(binaries) --bins)
	ARCANE_RACES=all $(CARGO) test -p arcane-tests --features control-plane --test admission -- \
		--nocapture --test-threads=1 racing certificates

# Not a part of `make test`: figures are compared with those of the same machine in the same hour, and never fail.
BENCH_STREAMS ?= 100
BENCH_CLASSES ?= 1
BENCH_RUNS ?= 1
.PHONY: bench
bench: ## What both processes cost and how fast they are, beside a bare loop (BENCH_STREAMS, BENCH_CLASSES, BENCH_RUNS)
	@# The products by themselves: built beside the bench, they would get features of its dependencies.
	@$(call beside_control_plane,$(CARGO) build --release -p arcane-controller -p arcane-webhook --bins && \
		$(CARGO) build --release -p arcane-tests --bin bench)
	@echo 'Each run and the webhook take some minutes. Nothing else should happen on this machine meanwhile.'
	@for run in $$(seq $(BENCH_RUNS)); do \
		target/release/bench run --streams $(BENCH_STREAMS) --classes $(BENCH_CLASSES) || exit 1; done
	@target/release/bench webhook >/dev/null
	@echo; target/release/bench report target/bench

.PHONY: model
model: ## The model checker with larger budgets; CI runs it with small ones
	ARCANE_RECORD=1 ARCANE_MODEL=deep $(CARGO) test -p arcane-controller --test model -- --nocapture no_order_of_steps

.PHONY: cluster
cluster: ## A control plane with a simulated kubelet to try things on; prints its KUBECONFIG
	@$(call beside_control_plane,$(CARGO) build -p arcane-tests --bin cluster)
	@$(CARGO) run -q -p arcane-tests --bin cluster

.PHONY: e2e
e2e: images ## The chart, installed on a real cluster whose pods really run: all of it (SCENES=... for some)
	$(CARGO) build -p arcane-e2e
	ARCANE_E2E_REQUIRED=true bash e2e/run.sh target/debug/arcane-e2e $(SCENES)

.PHONY: e2e-ci
e2e-ci: ## A quick part of it, in about six minutes
	@$(call beside_control_plane,$(CARGO) build -p arcane-controller -p arcane-webhook -p arcane-e2e -p arcane-e2e-worker)
	@$(call pack_images,target/debug,target/images-of-debug)
	ARCANE_E2E_QUICK=true ARCANE_E2E_IMAGES=$(CURDIR)/target/images-of-debug bash e2e/run.sh target/debug/arcane-e2e $(SCENES)

# Where no node can be had (it takes Linux and root), a line says so, and nothing has been tried.
.PHONY: installed
installed: ## The scenes that CI plays, in about three minutes
	@$(MAKE) --no-print-directory e2e-ci SCENES="installing refusing guide drain uninstalling"

.PHONY: images
images: ## The images, made here without a container engine: target/images/*.tar
	RUSTFLAGS='-C target-feature=+crt-static' $(CARGO) build --release --target $(triple) \
		-p arcane-controller -p arcane-webhook -p arcane-e2e-worker
	@for name in arcane-controller arcane-webhook; do \
		sh e2e/look-at-binary.sh target/$(triple)/release/$$name || exit 1; done
	@$(call pack_images,target/$(triple)/release,target/images)
	@ls -l target/images

.PHONY: dockerfiles
dockerfiles: ## Both images by their Dockerfiles, built and looked at; takes two release builds
	bash e2e/dockerfiles.sh

.PHONY: sbom
sbom: ## What is in the binaries, and under which licences: target/sbom (needs cargo-cyclonedx)
	@command -v cargo-cyclonedx >/dev/null || \
		{ echo 'cargo-cyclonedx is not installed: cargo install cargo-cyclonedx'; exit 1; }
	@# It writes beside the manifest of each crate, with this directory in the names of our own.
	@$(CARGO) cyclonedx -q --format json --target $(triple) --override-filename arcane-sbom
	@mkdir -p target/sbom; for name in controller webhook; do \
		sed 's|$(CURDIR)|.|g' $$name/arcane-sbom.json > target/sbom/arcane-$$name.cdx.json; \
		$(CARGO) tree -p arcane-$$name -e normal --target $(triple) --prefix none --format '{p}: {l}' \
			| sed 's/ (.*): /: /; s/ (\*)$$//' | sort -u > target/sbom/arcane-$$name.licences.txt; \
	done; rm -f */arcane-sbom.json */*/arcane-sbom.json
	@ls -l target/sbom

.PHONY: real-cluster
real-cluster: ## A shell on a real cluster of one node in namespaces of its own (root)
	@bash e2e/node/with-cluster.sh $${SHELL:-sh}

.PHONY: generate
generate: ## Write what is made from the code: the CRDs, the table of the chart's values, the graph of phases, the book's reference
	$(CARGO) run -q -p arcane-common --example crds > charts/arcane-operator/files/crds.yaml
	$(CARGO) run -q -p arcane-tests --bin chart-readme
	ARCANE_DRAW=1 $(CARGO) test -q -p arcane-controller --test decisions phases_move_along_the_graph_in_the_docs
	ARCANE_DRAW=1 $(CARGO) test -q -p arcane-tests --test book the_reference_says_what_the_code_does

# mdbook takes every page that is linked for one of the book. What leaves the book leads into the repository instead.
.PHONY: book
book: ## The book of docs as a site, target/book; needs mdbook: cargo install mdbook
	@command -v mdbook >/dev/null || { echo 'mdbook is not installed: cargo install mdbook'; exit 1; }
	mdbook build docs
	@repository=$$(sed -n 's/^git-repository-url = "\(.*\)"$$/\1/p' docs/book.toml)/blob/main; \
	sed -i -E "s#href=\"\.\./([^\"]*)\"#href=\"$$repository/\1\"#g; s#($$repository/[^\"]*)\.html#\1.md#g" target/book/*.html
	@echo 'target/book/index.html'

.PHONY: record-reviews
record-reviews: ## Record anew what a real API server sends to a webhook
	@$(call beside_control_plane,$(CARGO) build -p arcane-tests --bin record-reviews)
	$(CARGO) run -q -p arcane-tests --bin record-reviews

# libFuzzer's coverage needs no nightly, but cargo-fuzz asks for it unless it is told otherwise; nor is there anything
# unsafe here for a sanitizer to find.
.PHONY: fuzz
fuzz: ## Ten minutes (FUZZ_SECONDS) of made-up input for each of FUZZ_TARGETS; needs cargo-fuzz: cargo install cargo-fuzz
	@set -e; for target in $(FUZZ_TARGETS); do mkdir -p target/fuzz/$$target fuzz/found/$$target; \
		$(fuzz) run -s none $$target target/fuzz/$$target fuzz/corpus/$$target fuzz/found/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -max_len=8192 -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
			2>&1 | tee target/fuzz/$$target.log; \
		grep -q '^stat::number_of_executed_units' target/fuzz/$$target.log && ! ls fuzz/artifacts/$$target/* >/dev/null 2>&1 || \
			{ echo "$$target: see target/fuzz/$$target.log and fuzz/artifacts/$$target"; exit 1; }; \
	done
	ARCANE_RECORD=1 $(CARGO) run -q -p arcane-tests --bin record-fuzzing -- $(FUZZ_TARGETS:%=target/fuzz/%.log)

# Few inputs that lead everywhere between them, of those that are there and those that were found.
.PHONY: fuzz-corpus
fuzz-corpus: ## What `make fuzz` has found that leads somewhere new goes to fuzz/corpus
	@set -e; for target in $(FUZZ_TARGETS); do mkdir -p target/fuzz/$$target fuzz/corpus/$$target; \
		$(fuzz) run -s none $$target fuzz/corpus/$$target target/fuzz/$$target -- -set_cover_merge=1 -use_counters=0 -max_len=8192; \
	done

.PHONY: verify
verify: format clippy alone deny ## Formatting, lints, each crate alone, licences

.PHONY: format
format:
	$(CARGO) fmt --all --check || { echo 'not formatted: run "cargo fmt --all"'; exit 1; }

.PHONY: clippy
clippy:
	$(CARGO) clippy --workspace --all-targets --features arcane-tests/control-plane -- -D warnings

# Cargo unifies the features of crates that are built together; alone, each shows what it forgot to ask for.
.PHONY: alone
alone:
	@for crate in $(CRATES); do echo "$$crate alone"; $(CARGO) check -q -p $$crate || exit 1; done
	@! $(CARGO) tree -p arcane-common -e normal --prefix none | grep -E '^(tokio|hyper|kube-client|kube-runtime) ' \
		|| { echo 'arcane-common is the pure domain: it must not depend on these'; exit 1; }

.PHONY: deny
deny:
	@if command -v cargo-deny >/dev/null; then cargo deny --offline check licenses bans sources; \
	else echo 'cargo-deny is not installed: licences are not checked (cargo install cargo-deny)'; fi

fuzz = RUSTC_BOOTSTRAP=1 $(CARGO) fuzz

triple = $(shell rustc --print host-tuple)

# Packs the binaries of directory $(1) into archives in directory $(2).
define pack_images
mkdir -p $(2); for name in arcane-controller arcane-webhook arcane-e2e-worker; do \
	user=65532:65532; if [ $$name = arcane-e2e-worker ]; then user=0:0; fi; \
	sh e2e/node/pack-image.sh $(2)/$$name.tar $(1)/$$name $$user arcane.test/$$name:e2e arcane.test/$$name:e2e-next \
		$$(if [ $$name = arcane-e2e-worker ]; then sed -n 's/^ *image: *//p' examples/guide/sqlserver-stream-template.yaml; fi) \
		|| exit 1; \
done
endef

# Runs $(1) while the control plane's binaries are found or built beside it.
define beside_control_plane
$(control_plane) >/dev/null & binaries=$$!; \
{ $(1); } || { status=$$?; kill $$binaries 2>/dev/null; exit $$status; }; \
wait $$binaries
endef
