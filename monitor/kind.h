/* kind.h - is a file of unknown name a mail message? The daemon's door to libmagic.
 *
 * libmagic's own database takes two headers of seventeen for mail and some milliseconds for the rest, so
 * it is given a small one of ours: the header names that real messages begin with. */
#ifndef MONITOR_KIND_H
#define MONITOR_KIND_H

#include "base/err.h"
#include "base/slice.h"

/* Loads the database: before the sandbox closes. */
int kind_init(struct err *e);
bool kind_is_mail(struct slice head);

#endif
