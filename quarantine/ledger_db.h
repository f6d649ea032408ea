/* ledger_db.h - how ledger.c and ledger_facts.c, the two halves of the ledger, talk to SQLite. */
#ifndef QUARANTINE_LEDGER_DB_H
#define QUARANTINE_LEDGER_DB_H

#include <pthread.h>
#include <sqlite3.h>

#include "quarantine/ledger.h"

#define STATEMENTS_MAX 48

struct ledger {
	sqlite3 *db;
	pthread_mutex_t lock; /* recursive: held from begin to commit */
	struct {
		const char *sql;
		sqlite3_stmt *stmt;
		bool busy;
	} cache[STATEMENTS_MAX];
};

int db_fail(struct ledger *, struct err *, const char *what);
/* A cached statement, ready to bind; the lock is held until db_done(). sql must be a literal. NULL on failure. */
sqlite3_stmt *db_ready(struct ledger *, const char *sql, struct err *);
void db_done(struct ledger *, sqlite3_stmt *);
/* Runs a statement without result rows, and db_done(). */
int db_finish(struct ledger *, sqlite3_stmt *, const char *what, struct err *);

void db_text(sqlite3_stmt *, int at, const char *text);
void db_int(sqlite3_stmt *, int at, int64_t v);
struct slice db_get_slice(sqlite3_stmt *, int at);
void db_get_text(sqlite3_stmt *, int at, char *to, size_t cap);

#endif
