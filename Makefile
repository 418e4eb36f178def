# The two commands of the README, complete on a fresh Debian machine: `make demo`, `make test`.
# Everything else is CMake and Ninja: see CONTRIBUTING.md.

BUILD  ?= build
PREFIX ?= /usr/local
OUT    ?= demo
VIDEO  ?=

.PHONY: all demo test install clean

all: $(BUILD)/build.ninja
	@cmake --build $(BUILD)

test: all
	@cd $(BUILD) && ctest --output-on-failure

# The people in a real video, found by a model that this project has trained. Runs again only when
# the program or the model has changed.
MODEL := demos/models/pedestrians.safetensors
demo: $(BUILD)/build.ninja
	@cmake --build $(BUILD) --target hornet_program
	@mkdir -p $(OUT)
	@video="$(VIDEO)"; [ -n "$$video" ] || video=$$(cmake/bootstrap.sh --video) || exit 1; \
	out=$(OUT)/vtest.mp4; \
	if [ -f $$out ] && [ -z "$$(find $(BUILD)/bin/hornet $(BUILD)/lib $(MODEL) -newer $$out)" ]; then \
	  echo "$$out is up to date"; exit; fi; \
	$(BUILD)/bin/hornet detect --force --score-thr 0.6 --weights $(MODEL) --input "$$video" --output $$out \
	  --json $(OUT)/vtest.jsonl && \
	echo "$$out, $(OUT)/vtest.jsonl, $(OUT)/run.json"

install: all
	@cmake --install $(BUILD) --prefix "$(PREFIX)"

clean:
	@rm -rf $(BUILD) $(OUT)

# Configured once; bootstrap.sh installs what is missing and prints LibTorch's prefix. Several sources
# at a time: most of what compiling one takes is LibTorch's headers. Who edits has it quicker without:
# CMAKE_ARGS=-DCMAKE_UNITY_BUILD=OFF.
$(BUILD)/build.ninja: cmake/bootstrap.sh
	@prefix=$$(cmake/bootstrap.sh) && \
	  cmake -S . -B $(BUILD) -G Ninja -DCMAKE_PREFIX_PATH="$$prefix" -DCMAKE_UNITY_BUILD=ON $(CMAKE_ARGS)
	@touch $@
