#include "monitor/kind.h"

#include <magic.h>
#include <stdio.h>
#include <sys/mman.h>

#include "base/own.h"
#include "base/sys.h"

/* magic(5): "search/1/c" is a comparison at the start, without case. */
static const char *const headers[] = {
	"received", "return-path", "delivered-to", "from", "to", "cc", "subject", "date", "message-id", "mime-version",
	"content-type", "reply-to", "sender", "dkim-signature", "authentication-results", "arc-seal", "x-sender", "x-receiver",
	"x-originating-ip", "x-mailer", "x-priority", "x-authenticated-user", "x-php-originating-script", "list-unsubscribe",
	"list-id", "user-agent", "importance", "in-reply-to", "references", "bcc", "errors-to", "precedence", "x-spam-status",
};

static magic_t magic;

static int write_database(int fd, struct err *e)
{
	char row[128];

	for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
		int n = snprintf(row, sizeof row, "0\tsearch/1/c\t%s:\tmail\n!:mime\tmessage/rfc822\n", headers[i]);
		if (sys_write(fd, row, (size_t)n) != 0)
			return err_sys(e, "write the magic database");
	}
	return 0;
}

int kind_init(struct err *e)
{
	char path[32];
	own_fd fd = memfd_create("spoolward.magic", MFD_CLOEXEC);

	if (fd < 0)
		return err_sys(e, "make the magic database");
	if (write_database(fd, e) != 0)
		return -1;
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	magic = magic_open(MAGIC_MIME_TYPE | MAGIC_NO_CHECK_COMPRESS | MAGIC_NO_CHECK_TAR | MAGIC_NO_CHECK_ELF |
			   MAGIC_NO_CHECK_CDF | MAGIC_NO_CHECK_CSV | MAGIC_NO_CHECK_JSON);
	if (magic == NULL || magic_load(magic, path) != 0)
		return err_set(e, ERR_BUG, "libmagic does not start: %s", magic ? magic_error(magic) : "no memory");
	return 0;
}

bool kind_is_mail(struct slice head)
{
	const char *type = magic == NULL ? NULL : magic_buffer(magic, head.p, head.n);

	return type != NULL && strcmp(type, "message/rfc822") == 0;
}
