#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum err_kind err_kind_of(int sys)
{
	switch (sys) {
	case ENOENT:
	case ESTALE:
		return ERR_GONE;
	case ENOSPC:
	case EDQUOT:
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case EAGAIN:
	case EINTR:
	case EIO:
	case EROFS:
	case EBUSY:
		return ERR_AGAIN;
	case EACCES:
	case EPERM:
		return ERR_DENIED;
	case EEXIST:
	case ENOTEMPTY:
		return ERR_EXISTS;
	case EXDEV:
		return ERR_CROSS;
	case ELOOP:
	case ENOTDIR:
	case EISDIR:
	case ENAMETOOLONG:
		return ERR_HOSTILE;
	default:
		return ERR_BUG;
	}
}

int err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
{
	va_list ap;

	e->kind = kind;
	e->sys = 0;
	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	return -1;
}

int err_sys(struct err *e, const char *fmt, ...)
{
	int sys = errno;
	va_list ap;

	e->kind = err_kind_of(sys);
	e->sys = sys;
	va_start(ap, fmt);
	int n = vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof e->text)
		(void)snprintf(e->text + n, sizeof e->text - (size_t)n, ": %s", strerrordesc_np(sys));
	errno = sys;
	return -1;
}

int err_add(struct err *e, const char *fmt, ...)
{
	char inner[sizeof e->text];
	va_list ap;

	memcpy(inner, e->text, sizeof inner);
	va_start(ap, fmt);
	int n = vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof e->text)
		(void)snprintf(e->text + n, sizeof e->text - (size_t)n, ": %.*s", (int)(sizeof e->text - (size_t)n), inner);
	return -1;
}
