/* origin.h - whose message is it?
 *
 * The accountable origin is the first of: authenticated login, script of a local uid, local
 * uid, client address. Sender and domain are counted beside it, and only where they could not be
 * forged by an outsider: authenticated, submitted locally, or from a trusted network. Nobody
 * answers for a bounce, for the MTA's own mail, or by the loopback address. */
#ifndef QUARANTINE_ORIGIN_H
#define QUARANTINE_ORIGIN_H

#include "conf/conf.h"
#include "quarantine/ledger.h"

#define ORIGINS_MAX 4 /* accountable, client beside a login, sender, domain */

struct origin_name {
	enum origin_kind kind;
	char text[ORIGIN_TEXT]; /* "kind:value", printable, case folded */
};

struct origin_names {
	size_t n;
	bool accountable; /* the first one answers for the message */
	struct origin_name name[ORIGINS_MAX];
};

void origin_names(const struct card *, const struct conf *, struct origin_names *out);
/* Text typed by a person, checked and folded the same way. */
bool origin_parse(struct slice text, struct origin_name *out);

#endif
