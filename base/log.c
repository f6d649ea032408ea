#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "base/clock.h"

static struct {
	int to_stderr;
	enum log_level most;
	const char *ident, *role;
} out = { .to_stderr = 1, .most = LOG_LEVEL_INFO, .ident = "spoolward" };

static const struct { int priority; const char *name; } levels[] = {
	[LOG_LEVEL_ERROR] = { LOG_ERR, "error" },      [LOG_LEVEL_WARN] = { LOG_WARNING, "warning" },
	[LOG_LEVEL_NOTICE] = { LOG_NOTICE, "notice" }, [LOG_LEVEL_INFO] = { LOG_INFO, "info" },
	[LOG_LEVEL_DEBUG] = { LOG_DEBUG, "debug" },
};

void log_open(const char *ident, int to_stderr, enum log_level most)
{
	out.ident = ident;
	out.to_stderr = to_stderr;
	out.most = most;
	/* NDELAY: the sandbox closes the way to the socket; NOWAIT: nothing is forked. */
	if (!to_stderr)
		openlog(ident, LOG_PID | LOG_NDELAY, LOG_MAIL);
}

void log_role(const char *role)
{
	out.role = role;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	int keep = errno;
	char line[2048];
	va_list ap;

	if (level > out.most)
		return;
	int head = out.role ? snprintf(line, sizeof line, "%s: ", out.role) : 0;
	va_start(ap, fmt);
	(void)vsnprintf(line + head, sizeof line - (size_t)head, fmt, ap);
	va_end(ap);
	for (char *c = line; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	if (out.to_stderr) {
		char now[CLOCK_TEXT];
		clock_text(clock_real_s(), now);
		(void)fprintf(stderr, "%s %s: %s: %s\n", now, out.ident, levels[level].name, line);
	} else {
		syslog(levels[level].priority, "%s", line);
	}
	errno = keep;
}
