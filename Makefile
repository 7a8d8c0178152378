# The words people type. Everything is done by Meson and the scripts in tools/.

BUILD  ?= build/release
PREFIX ?= /usr/local
CAMERA ?=
export FACEWORKER_SHARED ?= $(abspath ../shared)

.DEFAULT_GOAL := help
.PHONY: help build demo test soak bench docs install clean

help: ## Show this list
	@echo "faceworker: watches cameras, finds faces, publishes pictures, sends alerts"
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
	    column -t -s '|' 2>/dev/null || grep '##' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  make demo CAMERA=rtsp://user:password@10.0.0.5/stream1   with your own camera or file"

build: ## Install what the build needs and build the program into build/release
	@tools/install-packages.sh build run
	@test -f $(BUILD)/build.ninja || \
	    meson setup $(BUILD) --buildtype=release -Dtests=false --prefix=$(PREFIX)
	@ninja -C $(BUILD)

demo: build ## Three cameras with real faces, the page, and alerts as they come; Ctrl-C ends it
	@tools/install-packages.sh demo
	@tools/demo.sh $(BUILD)/src/app/faceworker "$(CAMERA)"

test: ## Install what the tests need, build, and run all of them (about half an hour)
	@tools/install-packages.sh build run demo test
	@python3 tools/run_tests.py

soak: ## The long tests: 20 repetitions of every outage, long fuzzing
	@tools/install-packages.sh build run demo test
	@python3 tools/run_tests.py --soak

bench: ## Speed as ratios measured in one run
	@tools/install-packages.sh build run demo test
	@python3 tools/run_tests.py --bench

docs: build ## Write the generated documents anew from the option table
	@$(BUILD)/src/app/faceworker check --print-docs > docs/config.md
	@$(BUILD)/src/app/faceworker check --print-schema > docs/config.schema.json

install: build ## Install the program and its man page (PREFIX, default /usr/local)
	@meson install -C $(BUILD) --no-rebuild

clean: ## Remove everything that was built
	@rm -rf build
