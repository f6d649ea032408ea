/* log.h - one line to syslog (facility mail) or stderr.
 *
 * Text from outside goes through escape_text() first; as a second fence every control
 * byte of a finished line is replaced here. errno survives. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/err.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_NOTICE, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Ident as syslog shows it; to_stderr: foreground. Call once per process. */
void log_open(const char *ident, int to_stderr, enum log_level most);
/* Prefixes every line with the role's name, as "sift: "; NULL for none. */
void log_role(const char *role);
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_notice(...) log_line(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
