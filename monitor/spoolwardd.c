/* spoolwardd: options, start, the loop, the end. */
#include <getopt.h>
#include <link.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "base/sandbox.h"
#include "monitor/ward.h"
#include "quarantine/control.h"

#define TICK_MS 1000
#define SAVE_MS 30000
#define READY_MS 5000 /* a spool that watch says nothing of does not hold up the start */
#define RECORDS_AT_ONCE 64 /* cards before the loop looks round again */
#define TREES_MAX (CONF_SPOOLS_MAX + 24)

struct options {
	const char *conf_path, *role;
	bool foreground, check, no_sandbox;
};

static const char usage[] =
	"usage: spoolwardd [-c FILE] [-f] [-n] [-V] [--no-sandbox]\n"
	"  -c FILE          configuration (" CONF_PATH ")\n"
	"  -f               log to stderr\n"
	"  -n               check the configuration and exit\n"
	"  -V               version\n"
	"  --no-sandbox     for debugging: roles keep their powers\n"
	"  --sample-config  print the sample configuration\n"
	"  --manual-config  print the keys as the manual lists them\n"
	"  --help           this\n";

enum { OPT_NO_SANDBOX = 256, OPT_ROLE, OPT_SAMPLE, OPT_MANUAL, OPT_HELP };

/* Returns -1 to go on, or an exit code. */
static int read_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "no-sandbox", no_argument, NULL, OPT_NO_SANDBOX }, { "role", required_argument, NULL, OPT_ROLE },
		{ "sample-config", no_argument, NULL, OPT_SAMPLE },  { "manual-config", no_argument, NULL, OPT_MANUAL },
		{ "help", no_argument, NULL, OPT_HELP },	     { NULL, 0, NULL, 0 },
	};
	int c;

	*o = (struct options){ .conf_path = CONF_PATH };
	while ((c = getopt_long(argc, argv, "c:fnV", longs, NULL)) != -1)
		switch (c) {
		case 'c':
			o->conf_path = optarg;
			break;
		case 'f':
			o->foreground = true;
			break;
		case 'n':
			o->check = true;
			break;
		case 'V':
			(void)puts("spoolwardd " VERSION);
			return 0;
		case OPT_NO_SANDBOX:
			o->no_sandbox = true;
			break;
		case OPT_ROLE:
			o->role = optarg;
			break;
		case OPT_SAMPLE:
			return conf_sample(stdout) == 0 ? 0 : 1;
		case OPT_MANUAL:
			return conf_manual(stdout) == 0 ? 0 : 1;
		case OPT_HELP:
			(void)fputs(usage, stdout);
			return 0;
		default:
			(void)fputs(usage, stderr);
			return EX_USAGE;
		}
	if (optind < argc) {
		(void)fputs(usage, stderr);
		return EX_USAGE;
	}
	return -1;
}

/* ---- a role ---- */

static int role_main(const char *name)
{
	struct stat st;
	bool watch = strcmp(name, "watch") == 0;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGPIPE, SIG_IGN);
	if (fstat(ROLE_FD_START, &st) != 0 || st.st_size < (off_t)sizeof(struct role_start) ||
	    (!watch && strcmp(name, "sift") != 0)) {
		(void)fputs("--role is for spoolwardd itself\n", stderr);
		return EX_USAGE;
	}
	const struct role_start *start = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, ROLE_FD_START, 0);
	if (start == MAP_FAILED ||
	    (size_t)st.st_size != sizeof *start + start->nspools * sizeof start->spool[0])
		return EX_USAGE;
	(void)close(ROLE_FD_START);
	log_open("spoolwardd", (int)start->foreground, LOG_LEVEL_INFO);
	log_role(name);
	char now[CLOCK_TEXT];
	clock_text(clock_real_s(), now); /* reads the zone while files can be opened */
	return watch ? watch_main(start) : sift_main(start);
}

/* ---- systemd ---- */

/* sd_notify(3) is a datagram to a socket named in the environment. */
static void notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	if (path == NULL || (path[0] != '/' && path[0] != '@'))
		return;
	size_t n = slice_text(to.sun_path, sizeof to.sun_path, slice_str(path));
	if (to.sun_path[0] == '@')
		to.sun_path[0] = '\0';
	own_fd fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		(void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&to,
			     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
}

static int64_t watchdog_ms(void)
{
	const char *text = getenv("WATCHDOG_USEC");
	uint64_t usec;

	return text != NULL && slice_u64(slice_str(text), INT64_MAX, &usec) ? (int64_t)(usec / 2000) : 0;
}

/* ---- ward ---- */

struct daemon {
	struct options options;
	struct conf *conf;
	struct brief *briefs;
	struct store *store;
	struct control *control;
	struct walker walker;
	struct ward ward;
	int signals;
};

static int load_conf(const char *path, struct conf **out)
{
	char *mistakes = NULL, *rest, *line;

	if (conf_load(path, out, &mistakes) == 0)
		return 0;
	for (rest = mistakes; rest != NULL && (line = strsep(&rest, "\n")) != NULL;)
		if (line[0] != '\0')
			log_error("%s", line);
	free(mistakes);
	return -1;
}

static int find_interpreter(struct dl_phdr_info *info, size_t size, void *arg)
{
	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_INTERP) {
			*(const char **)arg = (const char *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
			return 1;
		}
	return 0;
}

/* Kept for the life of the process. */
static const char *parent_of(const char *path)
{
	static char kept[TREES_MAX][PATH_MAX];
	static size_t n;
	char *copy = kept[n < TREES_MAX - 1 ? n++ : n];

	(void)slice_text(copy, PATH_MAX, slice_str(path));
	char *slash = strrchr(copy, '/');
	if (slash == NULL)
		return path;
	slash[slash == copy] = '\0';
	return copy;
}

/* What Landlock leaves to ward: the spools (by their parents, since a root may be replaced), the store, its socket, what
 * a reload reads, and this binary with its loader, so that roles can be started again. */
static int enter_sandbox(struct daemon *d, struct err *e)
{
	static char exe[PATH_MAX];
	struct sandbox_tree trees[TREES_MAX] = { { 0 } };
	const char *loader = NULL;
	size_t n = 0;
	ssize_t len = readlink("/proc/self/exe", exe, sizeof exe - 1);
	const unsigned rw = SANDBOX_READ | SANDBOX_WRITE;

	for (size_t i = 0; i < d->conf->nspools; i++)
		trees[n++] = (struct sandbox_tree){ parent_of(d->briefs[i].root), rw };
	trees[n++] = (struct sandbox_tree){ d->conf->state_dir, rw };
	trees[n++] = (struct sandbox_tree){ d->conf->quarantine_dir, rw };
	trees[n++] = (struct sandbox_tree){ parent_of(d->conf->socket), rw };
	trees[n++] = (struct sandbox_tree){ parent_of(d->options.conf_path), SANDBOX_READ };
	(void)dl_iterate_phdr(find_interpreter, &loader);
	if (len > 0)
		trees[n++] = (struct sandbox_tree){ exe, SANDBOX_READ | SANDBOX_EXEC };
	if (loader != NULL)
		trees[n++] = (struct sandbox_tree){ loader, SANDBOX_READ | SANDBOX_EXEC };
	static const char *const read_only[] = { "/etc", "/usr", "/lib", "/lib64", "/proc", "/dev/null", "/dev/urandom" };
	for (size_t i = 0; i < sizeof read_only / sizeof *read_only; i++)
		trees[n++] = (struct sandbox_tree){ read_only[i], SANDBOX_READ };
	if (sandbox_enter(SANDBOX_WARD, trees, e) != 0 || sandbox_self_test(SANDBOX_WARD, e) != 0)
		return err_add(e, "sandbox");
	if (sandbox_missing()[0] != '\0')
		log_warn("this kernel lacks a fence: %s", sandbox_missing());
	return 0;
}

static int make_briefs(struct daemon *d, struct err *e)
{
	d->briefs = calloc(d->conf->nspools, sizeof *d->briefs);
	if (d->briefs == NULL)
		return err_sys(e, "start");
	for (size_t i = 0; i < d->conf->nspools; i++)
		if (brief_make(&d->conf->spools[i], &d->briefs[i], e) != 0)
			return -1;
	return 0;
}

static int take_signals(struct daemon *d, struct err *e)
{
	static const int wanted[] = { SIGTERM, SIGINT, SIGHUP, SIGCHLD };
	sigset_t set;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
		(void)sigaddset(&set, wanted[i]);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGIO, SIG_IGN); /* somebody opens a file that we hold a lease on for a moment */
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 ||
	    (d->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
		return err_sys(e, "take signals");
	return 0;
}

static int start(struct daemon *d, struct err *e)
{
	struct ward *w = &d->ward;
	bool sandbox = !d->options.no_sandbox;

	w->notes_fd = -1;
	/* the hook first: it must not inherit the store's lock */
	if (take_signals(d, e) != 0 || hook_start(&w->hook, d->conf, e) != 0 || make_briefs(d, e) != 0 ||
	    store_open_briefs(d->conf, d->briefs, &d->store, e) != 0 ||
	    control_open(d->conf, &d->control, e) != 0 ||
	    roles_init(&w->roles, d->briefs, d->conf->nspools, d->options.foreground, sandbox, d->conf->reconcile_s, e) != 0)
		return -1;
	if (sandbox && enter_sandbox(d, e) != 0)
		return -1;
	if (!sandbox)
		log_warn("running without the sandbox: for debugging only");
	d->walker = (struct walker){ &w->roles, roles_walk };
	if (taker_new(d->store, &d->walker, &w->taker, e) != 0 || keeper_new(d->store, w->taker, &w->keeper, e) != 0 ||
	    ward_init(w, d->store, e) != 0 || ward_load(w, e) != 0 || keeper_start(w->keeper, e) != 0 ||
	    roles_start(&w->roles, clock_boot_ms(), e) != 0)
		return -1;
	ward_tick(w, clock_boot_ms());
	return control_start(d->control, d->store, e);
}

static bool same(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

/* What cannot change while we run is named, so that nobody waits for it. */
static void warn_fixed(const struct conf *was, const struct conf *is)
{
	bool spools = was->nspools != is->nspools;

	for (size_t i = 0; !spools && i < is->nspools; i++)
		spools = !same(was->spools[i].name, is->spools[i].name) || !same(was->spools[i].path, is->spools[i].path) ||
			 was->spools[i].format != is->spools[i].format;
	if (spools)
		log_warn("changed [spool] sections take effect at the next start");
	if (!same(was->state_dir, is->state_dir) || !same(was->quarantine_dir, is->quarantine_dir) ||
	    !same(was->socket, is->socket) || was->reconcile_s != is->reconcile_s ||
	    !same(was->on_incident, is->on_incident) || !same(was->hook_user, is->hook_user))
		log_warn("changed directories, socket, reconcile or hook take effect at the next start");
}

static void reload(struct daemon *d)
{
	struct conf *fresh;

	notify("RELOADING=1");
	if (load_conf(d->options.conf_path, &fresh) != 0) {
		log_error("the new configuration is not used; the old one stays in force");
	} else {
		warn_fixed(d->conf, fresh);
		/* other threads may still look at the old one: it is small, and it stays */
		d->conf = fresh;
		ward_conf(&d->ward, fresh);
		log_notice("configuration read again: mode %s, %zu rules, %zu overrides", mode_names[fresh->mode],
			   fresh->nrules, fresh->noverrides);
	}
	notify("READY=1");
}

/* False: the end. */
static bool take_signal(struct daemon *d)
{
	struct signalfd_siginfo info;
	struct ward *w = &d->ward;

	while (read(d->signals, &info, sizeof info) == sizeof info) {
		if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
			return false;
		if (info.ssi_signo == SIGHUP)
			reload(d);
		if (info.ssi_signo == SIGCHLD && roles_reap(&w->roles, &w->hook.pid, clock_boot_ms()))
			ward_sensors_down(w);
	}
	return true;
}

static void read_cards(struct ward *w)
{
	struct pollfd p = { .fd = w->roles.cards_fd, .events = POLLIN };

	for (int i = 0; i < RECORDS_AT_ONCE && w->roles.cards_fd >= 0; i++) {
		if (i > 0 && poll(&p, 1, 0) <= 0)
			return;
		if (!ward_cards(w)) { /* SIGCHLD tells the rest; a reader that lies is ended here */
			(void)close(w->roles.cards_fd);
			w->roles.cards_fd = -1;
			if (w->roles.sift > 0)
				(void)kill(w->roles.sift, SIGKILL);
		}
	}
}

/* Of every spool it is known whether it is there. */
static bool all_told(const struct ward *w)
{
	for (size_t i = 0; i < w->store->nplaces; i++)
		if (!w->spools[i].told)
			return false;
	return true;
}

static void run(struct daemon *d)
{
	struct ward *w = &d->ward;
	struct err e;
	int64_t tick_ms = 0, save_ms = clock_boot_ms() + SAVE_MS, dog = watchdog_ms(), dog_ms = 0;
	int64_t ready_ms = clock_boot_ms() + READY_MS;
	bool sweeping = false, ready = false;

	for (;;) {
		struct pollfd p[3] = { { .fd = d->signals, .events = POLLIN },
				       { .fd = w->notes_fd, .events = POLLIN },
				       { .fd = w->roles.cards_fd, .events = POLLIN } };
		int64_t now = clock_boot_ms();
		int64_t wait = sweeping ? 0 : tick_ms > now ? tick_ms - now : 0;
		if (poll(p, 3, (int)wait) < 0 && errno != EINTR)
			return;
		if (p[0].revents != 0 && !take_signal(d))
			return;
		/* notes before cards: what comes back from us must be known before it is seen */
		ward_notes(w);
		if (p[2].revents != 0)
			read_cards(w);
		sweeping = ward_sweep(w);
		now = clock_boot_ms();
		if (!ready && (all_told(w) || now >= ready_ms)) {
			ready = true;
			notify("READY=1");
		}
		if (w->roles.watch == 0 && w->roles.sift == 0 && now >= w->roles.next_ms &&
		    roles_start(&w->roles, now, &e) != 0)
			log_error("%s", e.text);
		if (now >= tick_ms) {
			ward_tick(w, now);
			tick_ms = now + TICK_MS;
		}
		if (now >= save_ms) {
			ward_save(w);
			save_ms = now + SAVE_MS;
		}
		if (dog > 0 && now >= dog_ms) {
			notify("WATCHDOG=1");
			dog_ms = now + dog;
		}
	}
}

static void stop(struct daemon *d)
{
	struct ward *w = &d->ward;

	notify("STOPPING=1");
	bool idle = control_stop(d->control);
	roles_stop(&w->roles);
	hook_stop(&w->hook);
	if (w->keeper != NULL) {
		ward_save(w);
		keeper_stop(w->keeper);
	}
	if (!idle)
		_exit(0); /* a client's thread still works on all of this; the next start finishes what it began */
	taker_free(w->taker);
	if (w->store != NULL)
		ward_free(w);
	store_close(d->store);
	free(d->briefs);
	conf_free(d->conf);
}

int main(int argc, char **argv)
{
	static struct daemon d;
	struct err e;
	int code = read_options(argc, argv, &d.options);

	if (code >= 0)
		return code;
	if (d.options.role != NULL)
		return role_main(d.options.role);
	log_open("spoolwardd", d.options.foreground || d.options.check, LOG_LEVEL_INFO);
	if (load_conf(d.options.conf_path, &d.conf) != 0)
		return EX_CONFIG;
	if (d.options.check) {
		conf_free(d.conf);
		return 0;
	}
	d.ward.roles.cards_fd = d.ward.roles.walk_fd = d.ward.hook.fd = -1;
	if (start(&d, &e) != 0) {
		log_error("%s", e.text);
		stop(&d);
		return e.kind == ERR_CONFIG ? EX_CONFIG : 1;
	}
	if (d.store->on_ram)
		log_warn("the quarantine %s is on a RAM disk: what is held is lost with the power", d.conf->quarantine_dir);
	log_notice("spoolwardd " VERSION " is up: mode %s, %zu spools", mode_names[d.conf->mode], d.conf->nspools);
	run(&d);
	stop(&d);
	log_notice("stopped");
	return 0;
}
