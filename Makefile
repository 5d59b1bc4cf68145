# The whole interface to this repository; everything else is CMake.
PRESET ?= release
TEST_TIMEOUT ?= 1800
FUZZ_SECONDS ?= 300
# Most tests wait most of the time: one more at once than a small machine has processors.
AT_ONCE ?= 3

NINJA = build/$(PRESET)/build.ninja

build: $(NINJA)   ## compile; the program is build/tycho (PRESET=dev: build/dev/tycho)
	@cmake --build --preset $(PRESET) --target tycho

run: build        ## install what is missing, build, serve scripts/
	@build/tycho serve

test: setup-test $(NINJA)  ## install what is missing, build, run every test
	@cmake --build --preset $(PRESET) --target tests
	@rm -f build/$(PRESET)/sanitizer.log.*
	@ctest --preset $(PRESET) -j$(AT_ONCE) -LE valgrind --timeout $(TEST_TIMEOUT) $(TESTS)

test-long:        ## the same, one by one, with figures held to the letter: for a machine to itself
	@TYCHO_TEST_LONG=1 $(MAKE) --no-print-directory test AT_ONCE=1 TEST_TIMEOUT=7200

tsan:             ## the tests in C, and the library's, under the thread sanitizer
	@$(MAKE) --no-print-directory test PRESET=tsan TESTS='-E "^(blackbox|corpus|lua[.])"'

# Thirty times slower, a test that measures time may need a second try; memory errors fail each.
valgrind: setup-valgrind $(NINJA)  ## the tests in C under valgrind
	@cmake --build --preset $(PRESET) --target tests
	@ctest --preset $(PRESET) -j2 -L valgrind --repeat until-pass:3

fuzz: setup-fuzz  ## look for inputs that break something (FUZZ=http FUZZ_SECONDS=300)
	@$(MAKE) --no-print-directory build/fuzz/build.ninja PRESET=fuzz
	@cmake --build --preset fuzz
	@tests/fuzz/run.sh $(FUZZ_SECONDS) $(FUZZ)

soak: build       ## half an hour of everything at once
	@build/tycho run tests/soak/soak.lua

lint: setup-lint  ## what CI refuses
	@tools/lint.sh

format: setup-lint  ## rewrite C files in the house style
	@clang-format -i $$(git ls-files -co --exclude-standard '*.c' '*.h')

docs: setup-build ## write docs/api from the annotations of the standard library
	@$$(tools/luajit.sh prefix)/bin/luajit tools/docgen.lua

bench: setup-bench  ## ratios against nginx with Lua, from one run
	@$(MAKE) --no-print-directory build PRESET=release
	@cmake --build --preset release --target bench_bare
	@build/tycho run bench/run.lua

bench-overload:   ## what becomes of a worker that gets more than it can do
	@$(MAKE) --no-print-directory build PRESET=release
	@build/tycho run bench/overload.lua

setup: setup-build setup-test  ## install what build and test need

setup-%:
	@tools/setup.sh $*

# Ninja looks after the rest: it runs CMake again by itself when a file or a folder changes.
$(NINJA): CMakePresets.json | setup-build
	@mkdir -p build
	@cmake --preset $(PRESET) >build/$(PRESET).log || { cat build/$(PRESET).log; exit 1; }
	@touch $@

clean:            ## remove build/
	@rm -rf build

help:             ## this list
	@sed -nE 's/^([a-z-]+):[^#]*## */  make \1\t/p' Makefile

.PHONY: build run test test-long tsan valgrind fuzz soak lint format docs bench bench-overload setup clean help
