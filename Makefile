# moonlog: `make help` lists what one can ask for.
#
# One file, nothing generated. Every .c under core/ is compiled once, position-independent,
# and linked into the program, the two libraries and the Lua module. MODE picks the flags and
# its own directory; release builds into build/ itself.

MODE ?= release
MODES := release debug asan tsan cov fuzz
ifeq ($(filter $(MODE),$(MODES)),)
$(error MODE=$(MODE) is none of: $(MODES))
endif
OUT := $(if $(filter release,$(MODE)),build,build/$(MODE))

CC ?= cc
PREFIX ?= /usr/local
DATA ?= ./moonlog-data

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes \
        -Wmissing-prototypes -Wvla -Wundef -Wswitch-enum -Wwrite-strings -Wformat=2
FLAGS_release := -O2 -g
FLAGS_debug := -O0 -g3
FLAGS_asan := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FLAGS_tsan := -O1 -g -fsanitize=thread
FLAGS_cov := -O0 -g --coverage
FLAGS_fuzz := -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS += -std=c11 -D_GNU_SOURCE $(WARN) $(WERROR) $(FLAGS_$(MODE)) -fPIC -fvisibility=hidden -pthread
LUA_CFLAGS = $(shell pkg-config --cflags lua5.4)
LDLIBS := -lcrypto -lm
VIEWLIBS := -llmdb -lsqlite3
# The SIGBUS handler outlives a dlclose, so our shared objects stay.
SHARED := -shared -Wl,-z,nodelete

# ---- dependencies: Debian packages, asked for only when one is missing -----------------
NEED_build := gcc libc6-dev pkg-config lua5.4 liblua5.4-dev libmsgpack-dev libxxhash-dev libssl-dev libuv1-dev libseccomp-dev libedit-dev liblmdb-dev libsqlite3-dev
NEED_test := lua-busted python3 python3-msgpack python3-pynvim neovim nodejs
NEED_lint := clang clang-format cppcheck lua-check
NEED_fuzz := clang libclang-rt-14-dev
# The server's program is in it under another name; redis-server would start a service.
NEED_bench_daemon := redis-tools

missing = $(strip $(foreach p,$(1),$(if $(shell dpkg-query -W -f='$${db:Status-Status}' $(p) 2>/dev/null | grep -x installed),,$(p))))
define install
	@want="$(call missing,$(1))"; if [ -n "$$want" ]; then \
	  sudo=; [ "$$(id -u)" = 0 ] || sudo=sudo; \
	  echo "installing $$want"; \
	  $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	  $$sudo apt-get install -y -qq --no-install-recommends $$want >/dev/null; fi
endef

# ---- what is built ----------------------------------------------------------------------
CORE := $(sort $(wildcard core/base/*.c core/log/*.c core/index/*.c core/store/*.c))
# The worker process is the program's alone: the Lua module has no use for its walls.
WORKER := core/rules/jail.c $(wildcard core/rules/worker*.c core/projection/process*.c)
SCRIPT := $(filter-out $(WORKER),$(sort $(wildcard $(addsuffix /*.c,core/script core/rules core/view core/projection))))
CLI := $(sort $(wildcard core/cli/*.c core/server/*.c)) $(WORKER)
LUA := $(shell cd lua && find moonlog -name '*.lua')
COREOBJ := $(CORE:%.c=$(OUT)/obj/%.o)
CLIOBJ := $(CLI:%.c=$(OUT)/obj/%.o)
SCRIPTOBJ := $(SCRIPT:%.c=$(OUT)/obj/%.o)
SPECOBJ := $(patsubst %.c,$(OUT)/obj/%.o,$(sort $(wildcard spec/support/*.c)))
CRASHOBJ := $(patsubst %.c,$(OUT)/obj/%.o,$(sort $(wildcard spec/crash/*.c)))
SIEGEOBJ := $(patsubst %.c,$(OUT)/obj/%.o,$(sort $(wildcard spec/siege/*.c)))

all: deps ## build everything (the default); installs missing Debian packages first
	@$(MAKE) --no-print-directory MODE=$(MODE) built

built: $(OUT)/moonlog $(OUT)/libmoonlog.so $(OUT)/libmoonlog.a $(OUT)/moonlog.so
	@:

deps:
	$(call install,$(NEED_build))

quiet = $(if $(V),,@echo "$(1)";)

$(OUT)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call quiet,CC $<)$(CC) $(CFLAGS) $(if $(filter core/script/% core/rules/% core/projection/% core/cli/% spec/support/% spec/fuzz/%,$<),$(LUA_CFLAGS)) $(if $(filter examples/%,$<),-Icore) -MMD -MP -c -o $@ $<

$(OUT)/moonlog: $(COREOBJ) $(SCRIPTOBJ) $(CLIOBJ)
	$(call quiet,LD $@)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS) $(VIEWLIBS) -luv -lseccomp -ledit $(shell pkg-config --libs lua5.4)

$(OUT)/libmoonlog.so: $(COREOBJ)
	$(call quiet,LD $@)$(CC) $(CFLAGS) $(LDFLAGS) $(SHARED) -Wl,-soname,libmoonlog.so.0 -o $@.0 $^ $(LDLIBS)
	@ln -sf $(@F).0 $@

$(OUT)/libmoonlog.a: $(COREOBJ)
	$(call quiet,AR $@)rm -f $@; $(AR) rcs $@ $^

$(OUT)/moonlog.so: $(COREOBJ) $(SCRIPTOBJ)
	$(call quiet,LD $@)$(CC) $(CFLAGS) $(LDFLAGS) $(SHARED) -o $@ $^ $(LDLIBS) $(VIEWLIBS)

$(OUT)/coretest.so: $(COREOBJ) $(SCRIPTOBJ) $(SPECOBJ)
	$(call quiet,LD $@)$(CC) $(CFLAGS) $(LDFLAGS) $(SHARED) -o $@ $^ $(LDLIBS) $(VIEWLIBS) -Wl,--no-as-needed -lmsgpackc

$(OUT)/peers: spec/bench/peers.c Makefile
	$(call quiet,CC $<)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< -lsqlite3 -llmdb

$(OUT)/crash: $(COREOBJ) $(CRASHOBJ)
	$(call quiet,LD $@)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(OUT)/siege: $(COREOBJ) $(SIEGEOBJ)
	$(call quiet,LD $@)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(OUT)/race: $(COREOBJ) $(OUT)/obj/spec/race/race.o
	$(call quiet,LD $@)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

# The program but for its main, and libFuzzer's instead.
FUZZ := frame segment index ndjson unpack event wire session upcast value pattern rulepack viewkey
$(OUT)/fuzz-%: $(OUT)/obj/spec/fuzz/%.o $(OUT)/obj/spec/fuzz/fuzz.o $(COREOBJ) $(SCRIPTOBJ) $(filter-out %/main.o,$(CLIOBJ))
	$(call quiet,LD $@)$(CC) $(CFLAGS) -fsanitize=fuzzer $(LDFLAGS) -o $@ $^ $(LDLIBS) $(VIEWLIBS) -lmsgpackc -luv -lseccomp -ledit $(shell pkg-config --libs lua5.4)
.SECONDARY: $(patsubst %,$(OUT)/obj/spec/fuzz/%.o,fuzz $(FUZZ))

-include $(shell find $(OUT)/obj -name '*.d' 2>/dev/null)

# ---- running and testing ----------------------------------------------------------------
run: all ## a daemon on ./moonlog-data with examples/bank, and the repl; without a terminal its tour
	@[ ! -t 0 ] || env -u MOONLOG_CONNECT $(OUT)/moonlog head account-dee --data $(DATA) >/dev/null 2>&1 || \
	    env -u MOONLOG_CONNECT $(OUT)/moonlog import --data $(DATA) examples/bank/history.ndjson
	@MOONLOG_LUA=lua $(OUT)/moonlog dev --data $(DATA) examples/bank

test: all ## build, run every spec (or SPECS="file …"), end with `N passed, N failed`, and `, N skipped` if some were
	$(call install,$(NEED_test))
	@$(MAKE) --no-print-directory MODE=$(MODE) spec

# Lua loads our instrumented modules, so the sanitizer has to be there before it.
SANITIZE_asan := LD_PRELOAD=$$(gcc -print-file-name=libasan.so):$$(gcc -print-file-name=libubsan.so) ASAN_OPTIONS=detect_leaks=0

spec: built $(OUT)/coretest.so $(OUT)/crash $(OUT)/siege $(OUT)/race
	@MOONLOG_BUILD=$(OUT) SANITIZE="$(SANITIZE_$(MODE))" sh spec/run.sh $(SPECS)

asan: ## every spec under AddressSanitizer and UBSan, and the daemon with 16 clients
	@$(MAKE) --no-print-directory MODE=asan test
	@build/asan/siege mixed --requests 50000
	@build/asan/siege resume --deliveries 200000

tsan: deps ## everything that has threads under ThreadSanitizer
	@$(MAKE) --no-print-directory MODE=tsan build/tsan/race build/tsan/moonlog build/tsan/siege
	@dir=$$(mktemp -d) && TSAN_OPTIONS=halt_on_error=1 build/tsan/race "$$dir/store" 50000; status=$$?; rm -rf "$$dir"; exit $$status
	@TSAN_OPTIONS=halt_on_error=1 build/tsan/siege mixed --requests 20000
	@TSAN_OPTIONS=halt_on_error=1 build/tsan/siege resume --deliveries 50000

bench: all ## measure beside SQLite, LMDB and the bare disk; EVENTS=1000000 ROUNDS=3 SECONDS=2
	@$(MAKE) --no-print-directory MODE=$(MODE) $(OUT)/peers
	@lua5.4 spec/bench/run.lua $(OUT) $(or $(EVENTS),1000000) $(or $(ROUNDS),3) $(or $(SECONDS),2)

bench-daemon: all ## measure the daemon beside Redis; EVENTS=1000000 ROUNDS=3 SECONDS=2
	$(call install,$(NEED_bench_daemon))
	@MOONLOG_BUILD=$(OUT) lua5.4 spec/bench/daemon.lua $(or $(EVENTS),1000000) $(or $(ROUNDS),3) $(or $(SECONDS),2)

crash: all ## reliability figures: power cuts, failing calls, flipped bits, kill -9, planted bugs, the daemon besieged; SHORT=1
	@$(MAKE) --no-print-directory MODE=$(MODE) $(OUT)/crash $(OUT)/siege
	@sh spec/crash/run.sh $(OUT); status=$$?; sh spec/siege/run.sh $(OUT) && exit $$status

FUZZ_SECONDS ?= 60
fuzz: ## run each fuzz target for FUZZ_SECONDS=60, in build/fuzz
	$(call install,$(NEED_build) $(NEED_fuzz))
	@$(MAKE) --no-print-directory MODE=fuzz CC=clang $(FUZZ:%=build/fuzz/fuzz-%)
	@sh spec/fuzz/run.sh build/fuzz $(FUZZ_SECONDS) $(FUZZ)

# Both compilers with every warning an error, then who looks deeper. cppcheck takes the address
# of a variable for a use of it; whether one is used unset, the compilers say better.
LINTED = $(patsubst %.c,$(OUT)/obj/%.o,$(sort $(shell find core spec examples -name '*.c')))
compiled: $(LINTED)
lint: ## gcc and clang with -Werror over every C file, cppcheck, luacheck
	$(call install,$(NEED_build) $(NEED_lint))
	@$(MAKE) --no-print-directory OUT=build/lint/gcc CC=gcc WERROR=-Werror compiled
	@$(MAKE) --no-print-directory OUT=build/lint/clang CC=clang WERROR=-Werror compiled
	cppcheck --quiet --error-exitcode=1 --std=c11 -D_GNU_SOURCE -D__BYTE_ORDER__=1234 \
	  -D__ORDER_LITTLE_ENDIAN__=1234 --enable=warning,performance,portability \
	  --suppress=uninitvar --suppress=legacyUninitvar core spec examples
	luacheck --quiet spec examples lua

docs: built ## write core/PROTOCOL.md, from the table of methods
	$(OUT)/moonlog rpc --document > core/PROTOCOL.md

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20
	@echo "  MODE=release|debug|asan|tsan|cov|fuzz picks flags; V=1 shows commands"

install: all ## into $(DESTDIR)$(PREFIX): program, libraries, header, Lua module, moonlog.pc
	install -D -m 755 $(OUT)/moonlog $(DESTDIR)$(PREFIX)/bin/moonlog
	install -D -m 644 core/moonlog.h $(DESTDIR)$(PREFIX)/include/moonlog.h
	install -D -m 644 $(OUT)/libmoonlog.a $(DESTDIR)$(PREFIX)/lib/libmoonlog.a
	install -D -m 755 $(OUT)/libmoonlog.so.0 $(DESTDIR)$(PREFIX)/lib/libmoonlog.so.0
	ln -sf libmoonlog.so.0 $(DESTDIR)$(PREFIX)/lib/libmoonlog.so
	install -D -m 755 $(OUT)/moonlog.so $(DESTDIR)$(PREFIX)/lib/lua/5.4/moonlog.so
	for file in $(LUA); do install -D -m 644 lua/$$file $(DESTDIR)$(PREFIX)/share/lua/5.4/$$file || exit 1; done
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig
	printf '%s\n' 'Name: moonlog' 'Description: a durable, ordered, replayable log of events' \
	  'Version: 0.1.0' 'Libs: -L$(PREFIX)/lib -lmoonlog' 'Libs.private: -lcrypto -lm -pthread' \
	  'Cflags: -I$(PREFIX)/include' > $(DESTDIR)$(PREFIX)/lib/pkgconfig/moonlog.pc
	$(if $(DESTDIR),,-ldconfig)

clean: ## remove build/
	rm -rf build

.PHONY: all built deps run test spec asan tsan bench bench-daemon crash fuzz lint compiled install docs help clean
