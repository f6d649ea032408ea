#include "monitor/hook.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "base/sys.h"
#include "base/wire.h"
#include "quarantine/answer.h"

#define RECORD_MAX 8192
#define ENV_MOST 16

static int find_user(const char *name, uid_t *uid, gid_t *gid, struct err *e)
{
	uint64_t n;
	const struct passwd *pw;

	if (slice_u64(slice_str(name), UINT32_MAX - 1, &n)) {
		pw = getpwuid((uid_t)n);
		*uid = (uid_t)n;
		*gid = pw ? pw->pw_gid : (gid_t)n;
		return 0;
	}
	pw = getpwnam(name);
	if (pw == NULL)
		return err_set(e, ERR_CONFIG, "hook_user: there is no user %s", name);
	*uid = pw->pw_uid;
	*gid = pw->pw_gid;
	return 0;
}

/* The incident as the program's environment and standard input. */
static void run_program(const char *program, const char *text, int input)
{
	static const struct { const char *name, *key; } vars[] = {
		{ "INCIDENT", "id" },	      { "ORIGIN", "origin" }, { "RULE", "rule" },     { "STATE", "state" },
		{ "RECIPIENTS", "recipients" }, { "LIMIT", "limit" },   { "PER", "per" },	      { "TAKEN", "taken" },
		{ "GONE", "gone" },	      { "WOULD_TAKE", "would_take" }, { "MODE", "mode" },
	};
	char *argv[] = { (char *)(size_t)program, NULL }, *env[ENV_MOST + 2];
	json_error_t why;
	json_t *j = json_loads(text, 0, &why);
	size_t n = 0;

	env[n++] = (char *)(size_t) "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	for (size_t i = 0; i < sizeof vars / sizeof *vars && n < ENV_MOST; i++) {
		const json_t *v = json_object_get(j, vars[i].key);
		int rc = json_is_string(v) ? asprintf(&env[n], "SPOOLWARD_%s=%s", vars[i].name, json_string_value(v))
					   : asprintf(&env[n], "SPOOLWARD_%s=%lld", vars[i].name,
						      (long long)json_integer_value(v));
		n += rc > 0;
	}
	env[n] = NULL;
	(void)dup2(input, STDIN_FILENO);
	(void)execve(program, argv, env);
	log_error("run %s: %s", program, strerrordesc_np(errno));
	_exit(127);
}

static void run_one(const char *program, const char *text, size_t size, int64_t timeout_s)
{
	int status;
	own_fd input = memfd_create("spoolward.incident", MFD_CLOEXEC);

	if (input < 0 || sys_write(input, text, size) != 0 || sys_write(input, "\n", 1) != 0 || lseek(input, 0, SEEK_SET) != 0)
		return;
	pid_t pid = fork();
	if (pid == 0) {
		(void)setpgid(0, 0);
		run_program(program, text, input);
	}
	int64_t end = clock_boot_ms() + timeout_s * 1000;
	while (pid > 0 && waitpid(pid, &status, WNOHANG) == 0) {
		if (clock_boot_ms() >= end) {
			log_error("%s was ended after %llds", program, (long long)timeout_s);
			(void)kill(-pid, SIGKILL);
			end = INT64_MAX;
		}
		(void)poll(NULL, 0, 20);
	}
	if (pid > 0 && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
		log_warn("%s ended with status %d", program, WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
}

static void hook_loop(int fd, const char *program, int64_t timeout_s)
{
	static char text[RECORD_MAX + 1];
	ssize_t n;

	while ((n = wire_recv(fd, text, RECORD_MAX, NULL, 0, NULL)) > 0) {
		text[n] = '\0';
		run_one(program, text, (size_t)n, timeout_s);
	}
	_exit(0);
}

static int become_user(uid_t uid, gid_t gid)
{
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	log_role("hook");
	if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)) {
		log_error("become uid %u: %s", (unsigned)uid, strerrordesc_np(errno));
		return -1;
	}
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of user clears it */
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

int hook_start(struct hook *h, const struct conf *conf, struct err *e)
{
	uid_t uid = 0;
	gid_t gid = 0;
	int sv[2];

	*h = (struct hook){ .fd = -1, .wanted = conf->on_incident != NULL && conf->on_incident[0] != '\0' };
	if (!h->wanted)
		return 0;
	if (geteuid() == 0 && find_user(conf->hook_user, &uid, &gid, e) != 0)
		return -1;
	if (wire_pair(sv) != 0)
		return err_sys(e, "start the hook");
	h->pid = fork();
	if (h->pid == 0) {
		(void)close(sv[0]);
		if (become_user(uid, gid) != 0)
			_exit(1);
		hook_loop(sv[1], conf->on_incident, conf->hook_timeout_s);
	}
	(void)close(sv[1]);
	h->fd = sv[0];
	return h->pid > 0 ? 0 : err_sys(e, "start the hook");
}

void hook_tell(struct hook *h, const struct incident *i, const char *state)
{
	json_t *j = h->pid > 0 ? answer_incident(i) : NULL;

	if (j == NULL)
		return;
	(void)json_object_set_new(j, "state", json_string(state));
	own_mem char *text = json_dumps(j, JSON_COMPACT);
	json_decref(j);
	size_t n = text ? strlen(text) : 0;
	if (n == 0 || n > RECORD_MAX || send(h->fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)n)
		h->dropped++;
}

void hook_stop(struct hook *h)
{
	if (h->fd >= 0)
		(void)close(h->fd); /* the process ends when it has done what it was told */
	h->fd = -1;
}
