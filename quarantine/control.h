/* control.h - the daemon's socket for the command line.
 *
 * Access: root, and the members of group (viewers) and operators. The socket has its mode and
 * group from bind() on; SO_PEERCRED tells who asks; the command table says what each may do. A
 * client that misbehaves is dropped. At most CONTROL_CLIENTS at once, each in a thread. */
#ifndef QUARANTINE_CONTROL_H
#define QUARANTINE_CONTROL_H

#include "quarantine/store.h"

#define CONTROL_CLIENTS 16

struct control;

/* Binds; call before the sandbox closes. Replaces a socket that nobody answers on. */
int control_open(const struct conf *, struct control **out, struct err *e);
/* Starts the accepting thread. */
int control_start(struct control *, struct store *, struct err *e);
/* No new client; waits a little for those that are at work. False: some still are, and nothing that they use may be freed. */
bool control_stop(struct control *);

#endif
