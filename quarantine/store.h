/* store.h - everything at rest: configuration, ledger, cells, and the spools' directories.
 *
 * One process owns the store (a lock file in state_dir); the daemon, or a CLI while no daemon
 * runs. Inside the daemon several threads use one store: the ledger locks itself. */
#ifndef QUARANTINE_STORE_H
#define QUARANTINE_STORE_H

#include "conf/conf.h"

struct store;

/* ERR_EXISTS: another process has the lock (its pid in e->text). ERR_DENIED: not permitted. */
int store_open(const struct conf *conf, struct store **out, struct err *e);
void store_close(struct store *);

#endif
