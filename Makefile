# make [all] install demo check check-fast torture asan fuzz bench lint deps docs clean
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system
CFLAGS ?= -O2 -g
B ?= build
VERSION := 0.1.0
PKGS := libmagic sqlite3 jansson libcap-ng libseccomp libsodium
WARN := -Wall -Wextra -Wshadow -Wconversion -Wvla -Wstrict-prototypes -Wmissing-prototypes -Wwrite-strings
HARD := -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
# iniparser has a .pc only from Debian 13 on, and its headers move there
INI := -I/usr/include/iniparser
CC_ALL = $(CC) -std=c11 -D_GNU_SOURCE -I. -MMD -MP $(WARN) -fno-common -fvisibility=hidden -pthread \
	-DVERSION='"$(VERSION)"' -DSBINDIR='"$(PREFIX)/sbin"' $(INI) $(if $(SAN),$(SAN),$(HARD)) $(CFLAGS)
LIBS = -linotifytools -liniparser $(shell pkg-config --libs $(PKGS))
GMIME_CFLAGS = $(shell pkg-config --cflags gmime-3.0)
GMIME_LIBS = $(shell pkg-config --libs gmime-3.0)
MAINS := monitor/spoolwardd.c quarantine/spoolward.c
# the reviewing side reads MIME: the daemon does not link it
REVIEW := quarantine/review.c
MODS := $(filter-out $(MAINS) $(REVIEW),$(wildcard base/*.c spool/*.c conf/*.c quarantine/*.c monitor/*.c))
BINS := $(B)/spoolwardd $(B)/spoolward
UNITS := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test_*.c))
FUZZERS := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
# every disk-changing call passes the torture first
TORTURE := $(B)/crash/torture
# the daemon without its syncs, the control of the power cuts
NOSYNC := $(B)/crash/spoolwardd-nosync
SEAM := $(shell sed -n 's/^int \(sys_[a-z]*\).*/-Wl,--wrap=\1/p' base/sys.h)
# daemons that are wrong on purpose: a test that passes with them sees nothing
CONTROLS := $(patsubst tests/mta/control_%.c,$(B)/controls/spoolwardd-%,$(wildcard tests/mta/control_*.c))
TOOLS := $(patsubst tests/tools/%.c,$(B)/tools/%,$(wildcard tests/tools/*.c))
MODOBJ = $(MODS:%.c=$(B)/%.o)
LINK = @mkdir -p $(@D); $(CC) $(if $(SAN),$(SAN),-pie -Wl,-z,relro,-z,now) $(LDFLAGS) -pthread -o $@ $^ $(LIBS)

all: deps-present $(BINS)
$(B)/spoolwardd: $(B)/monitor/spoolwardd.o $(MODOBJ) ; $(LINK)
$(B)/spoolward: LIBS += $(GMIME_LIBS)
$(B)/spoolward: $(B)/quarantine/spoolward.o $(REVIEW:%.c=$(B)/%.o) $(MODOBJ) ; $(LINK)
$(B)/quarantine/review.o: CC_ALL += $(GMIME_CFLAGS)
$(UNITS): LIBS += -lcmocka $(GMIME_LIBS)
$(UNITS): $(B)/unit/%: $(B)/tests/unit/%.o $(REVIEW:%.c=$(B)/%.o) $(MODOBJ) ; $(LINK)
$(TORTURE): LDFLAGS += $(SEAM)
$(TORTURE): $(patsubst %.c,$(B)/%.o,$(filter-out $(wildcard tests/crash/powercut*),$(wildcard tests/crash/*.c))) $(MODOBJ) ; $(LINK)
$(NOSYNC): LDFLAGS += -Wl,--wrap=sys_sync,--wrap=sys_syncfs
$(NOSYNC): $(B)/monitor/spoolwardd.o $(B)/tests/crash/powercut_nosync.o $(MODOBJ) ; $(LINK)
$(B)/controls/spoolwardd-nolease: LDFLAGS += -Wl,--wrap=place_still
$(B)/controls/spoolwardd-oldid: LDFLAGS += -Wl,--wrap=place_fresh
$(CONTROLS): $(B)/controls/spoolwardd-%: $(B)/tests/mta/control_%.o $(B)/monitor/spoolwardd.o $(MODOBJ) ; $(LINK)
$(TOOLS): $(B)/tools/%: $(B)/tests/tools/%.o $(MODOBJ) ; $(LINK)
$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(CC_ALL) -c -o $@ $<
-include $(shell find $(B) -name '*.d' 2>/dev/null)

deps: ; tests/deps install
deps-present: ; @tests/deps present build || tests/deps install build
deps-tests: ; @tests/deps present || tests/deps install
tools: deps-present $(TOOLS) $(CONTROLS) $(TORTURE) $(NOSYNC) $(BINS)
units: deps-tests $(UNITS)
demo: all ; @tests/demo $(B)
check: deps-tests all tools units ; @TORTURE=full tests/run --build $(B) all
check-fast: deps-tests all tools units ; @tests/run --build $(B) fast
# kills without end in front of a real MTA, about half an hour, and power cuts, ten minutes; SEED=n repeats a run
torture: all tools ; @BUILD=$(B) KILLS=$${KILLS:-520} tests/mta/test_postfix_torture
	@BUILD=$(B) tests/crash/test_powercut $${CUTS:-60}
asan: ; $(MAKE) B=build-asan SAN='-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer' all tools units
	@tests/run --build build-asan fast
tsan: ; $(MAKE) B=build-tsan SAN='-fsanitize=thread' all tools units
	@tests/run --build build-tsan fast
fuzz: ; @tests/fuzz/run $(B) $(SECONDS)
bench: all tools ; @tests/bench/run $(B)
lint: ; @tests/lint
docs: all ; @tests/docs --write $(B)
install: all
	install -Dm755 -t $(DESTDIR)$(PREFIX)/sbin $(BINS)
	install -d $(DESTDIR)$(UNITDIR)
	sed 's,@SBINDIR@,$(PREFIX)/sbin,' systemd/spoolward.service > $(DESTDIR)$(UNITDIR)/spoolward.service
	install -Dm644 systemd/spoolward.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/spoolward.conf
	install -Dm644 systemd/spoolward.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/spoolward.conf
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/man/man8 monitor/spoolwardd.8 quarantine/spoolward.8
	install -Dm644 -t $(DESTDIR)$(PREFIX)/share/man/man5 conf/spoolward.conf.5
	install -Dm644 quarantine/spoolward.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/spoolward
	install -d $(DESTDIR)$(SYSCONFDIR)/spoolward
	test -e $(DESTDIR)$(SYSCONFDIR)/spoolward/spoolward.conf || \
		install -m644 conf/spoolward.conf $(DESTDIR)$(SYSCONFDIR)/spoolward/spoolward.conf
clean: ; rm -rf build build-*
.PHONY: all deps deps-present deps-tests tools units demo check check-fast torture asan tsan fuzz bench lint docs install clean
