/* Incidents, origins held or trusted, the audit trail, the running windows. */
#include <stdio.h>

#include "quarantine/ledger_db.h"

#define INCIDENT_COLUMNS                                                                              \
	"id, origin, rule, mode, state, since, updated, closed, recipients, messages, limit_, per, " \
	"would_take, missed, clients, reason"

int ledger_incident_put(struct ledger *l, const struct incident *i, struct err *e)
{
	sqlite3_stmt *s = db_ready(
		l, "INSERT OR REPLACE INTO incident(" INCIDENT_COLUMNS ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", e);

	if (s == NULL)
		return -1;
	db_int(s, 1, i->id);
	db_text(s, 2, i->origin);
	db_text(s, 3, i->rule);
	db_text(s, 4, i->mode);
	db_text(s, 5, i->state);
	const int64_t numbers[] = { i->since,	     i->updated,	     i->closed,		     (int64_t)i->recipients,
				    (int64_t)i->messages, (int64_t)i->limit, i->per_s,		     (int64_t)i->would_take,
				    (int64_t)i->missed,	 (int64_t)i->clients };
	for (int k = 0; k < 10; k++)
		db_int(s, 6 + k, numbers[k]);
	db_text(s, 16, i->reason);
	return db_finish(l, s, "write an incident", e);
}

static void read_incident(sqlite3_stmt *s, struct incident *i)
{
	memset(i, 0, sizeof *i);
	i->id = sqlite3_column_int64(s, 0);
	db_get_text(s, 1, i->origin, sizeof i->origin);
	db_get_text(s, 2, i->rule, sizeof i->rule);
	db_get_text(s, 3, i->mode, sizeof i->mode);
	db_get_text(s, 4, i->state, sizeof i->state);
	i->since = sqlite3_column_int64(s, 5);
	i->updated = sqlite3_column_int64(s, 6);
	i->closed = sqlite3_column_int64(s, 7);
	i->recipients = (uint64_t)sqlite3_column_int64(s, 8);
	i->messages = (uint64_t)sqlite3_column_int64(s, 9);
	i->limit = (uint64_t)sqlite3_column_int64(s, 10);
	i->per_s = sqlite3_column_int64(s, 11);
	i->would_take = (uint64_t)sqlite3_column_int64(s, 12);
	i->missed = (uint64_t)sqlite3_column_int64(s, 13);
	i->clients = (uint64_t)sqlite3_column_int64(s, 14);
	db_get_text(s, 15, i->reason, sizeof i->reason);
}

/* What became of the incident's messages, from their rows. */
static int count_states(struct ledger *l, struct incident *i, struct err *e)
{
	sqlite3_stmt *s = db_ready(l, "SELECT state, count(*) FROM message WHERE incident=? GROUP BY state", e);
	int rc;

	if (s == NULL)
		return -1;
	db_int(s, 1, i->id);
	i->gone = i->missed;
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		int state = sqlite3_column_int(s, 0);
		uint64_t n = (uint64_t)sqlite3_column_int64(s, 1);
		if (state == ROW_GONE)
			i->gone += n;
		else
			i->taken += n;
		if (state == ROW_HELD || state == ROW_UNCERTAIN || state == ROW_STAGED || state == ROW_TAKING)
			i->held += n;
		else if (state == ROW_RELEASED || state == ROW_RELEASING)
			i->released += n;
		else if (state == ROW_PURGED || state == ROW_PURGING)
			i->purged += n;
	}
	rc = rc == SQLITE_DONE ? 0 : db_fail(l, e, "count an incident's messages");
	db_done(l, s);
	return rc;
}

int ledger_incident_get(struct ledger *l, int64_t id, struct incident *out, struct err *e)
{
	sqlite3_stmt *s = db_ready(l, "SELECT " INCIDENT_COLUMNS " FROM incident WHERE id=?", e);

	if (s == NULL)
		return -1;
	db_int(s, 1, id);
	int rc = sqlite3_step(s);
	if (rc == SQLITE_ROW)
		read_incident(s, out);
	int found = rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : db_fail(l, e, "read an incident");
	db_done(l, s);
	if (found == 1 && count_states(l, out, e) != 0)
		return -1;
	return found;
}

/* The first incident after id, open ones only unless all. */
static int next_incident(struct ledger *l, bool all, int64_t after, struct incident *out, struct err *e)
{
	sqlite3_stmt *s = db_ready(
		l, "SELECT " INCIDENT_COLUMNS " FROM incident WHERE id > ? AND (? OR closed = 0) ORDER BY id LIMIT 1", e);

	if (s == NULL)
		return -1;
	db_int(s, 1, after);
	db_int(s, 2, all);
	int rc = sqlite3_step(s);
	if (rc == SQLITE_ROW)
		read_incident(s, out);
	int found = rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : db_fail(l, e, "read incidents");
	db_done(l, s);
	if (found == 1 && count_states(l, out, e) != 0)
		return -1;
	return found;
}

int ledger_incidents(struct ledger *l, bool all, int (*each)(void *, const struct incident *), void *arg, struct err *e)
{
	struct incident i = { 0 };
	int found, stop;

	while ((found = next_incident(l, all, i.id, &i, e)) == 1)
		if ((stop = each(arg, &i)) != 0)
			return stop;
	return found;
}

int64_t ledger_incident_last(struct ledger *l, struct err *e)
{
	/* a ledger made anew from the cells knows the numbers, not the incidents */
	sqlite3_stmt *s = db_ready(l,
				   "SELECT max(coalesce((SELECT max(id) FROM incident), 0),"
				   " coalesce((SELECT max(incident) FROM message), 0))",
				   e);
	int64_t id = -1;

	if (s == NULL)
		return -1;
	if (sqlite3_step(s) == SQLITE_ROW)
		id = sqlite3_column_int64(s, 0);
	else
		(void)db_fail(l, e, "read the last incident");
	db_done(l, s);
	return id;
}

int ledger_top(struct ledger *l, int64_t incident, const char *column, unsigned limit,
	       int (*each)(void *, const char *, uint64_t), void *arg, struct err *e)
{
	static const struct { const char *column, *sql; } rows[] = {
#define TOP(c) { #c, "SELECT " #c ", count(*) FROM message WHERE incident=? GROUP BY " #c " ORDER BY 2 DESC LIMIT ?" }
		TOP(sender), TOP(subject), TOP(client),
#undef TOP
		{ "size", "SELECT ((size + 1023) / 1024) || 'K', count(*) FROM message WHERE incident=? GROUP BY 1 ORDER BY 2 DESC"
			  " LIMIT ?" },
	};
	const char *sql = NULL;
	int rc, stop = 0;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (strcmp(rows[i].column, column) == 0)
			sql = rows[i].sql;
	sqlite3_stmt *s = sql ? db_ready(l, sql, e) : NULL;
	if (s == NULL)
		return -1;
	db_int(s, 1, incident);
	db_int(s, 2, limit);
	while ((rc = sqlite3_step(s)) == SQLITE_ROW && stop == 0) {
		const char *value = (const char *)sqlite3_column_text(s, 0);
		stop = each(arg, value ? value : "", (uint64_t)sqlite3_column_int64(s, 1));
	}
	if (stop == 0 && rc != SQLITE_DONE)
		stop = db_fail(l, e, "count an incident's texts");
	db_done(l, s);
	return stop;
}

int ledger_origin_put(struct ledger *l, const struct origin_row *o, struct err *e)
{
	bool gone = o->state == HOLD_NONE;
	sqlite3_stmt *s = gone ? db_ready(l, "DELETE FROM origin WHERE origin=?", e)
			       : db_ready(l, "INSERT OR REPLACE INTO origin VALUES(?,?,?,?,?,?,?)", e);

	if (s == NULL)
		return -1;
	db_text(s, 1, o->origin);
	if (!gone) {
		db_int(s, 2, o->state);
		db_int(s, 3, o->since);
		db_int(s, 4, o->until);
		db_text(s, 5, o->by);
		db_int(s, 6, o->incident);
		db_text(s, 7, o->reason);
	}
	return db_finish(l, s, "write an origin", e);
}

/* Pages, so that each() runs without the ledger's lock: it may write to a client that does not read. */
#define FACTS_PAGE 32

static int page_origins(struct ledger *l, const char *after, struct origin_row *rows, struct err *e)
{
	sqlite3_stmt *s = db_ready(l, "SELECT * FROM origin WHERE origin > ? ORDER BY origin LIMIT 32", e);
	int rc, n = 0;

	if (s == NULL)
		return -1;
	db_text(s, 1, after);
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		struct origin_row *o = &rows[n++];
		*o = (struct origin_row){ .state = (enum origin_hold)sqlite3_column_int(s, 1),
					  .since = sqlite3_column_int64(s, 2),
					  .until = sqlite3_column_int64(s, 3),
					  .incident = sqlite3_column_int64(s, 5) };
		db_get_text(s, 0, o->origin, sizeof o->origin);
		db_get_text(s, 4, o->by, sizeof o->by);
		db_get_text(s, 6, o->reason, sizeof o->reason);
	}
	if (rc != SQLITE_DONE)
		n = db_fail(l, e, "read origins");
	db_done(l, s);
	return n;
}

int ledger_origins(struct ledger *l, int (*each)(void *, const struct origin_row *), void *arg, struct err *e)
{
	struct origin_row rows[FACTS_PAGE];
	char after[ORIGIN_TEXT] = "";
	int n, stop;

	do {
		n = page_origins(l, after, rows, e);
		for (int i = 0; i < n; i++)
			if ((stop = each(arg, &rows[i])) != 0)
				return stop;
		if (n > 0)
			memcpy(after, rows[n - 1].origin, sizeof after);
	} while (n == FACTS_PAGE);
	return n < 0 ? -1 : 0;
}

int ledger_audit(struct ledger *l, const struct audit_row *a, struct err *e)
{
	sqlite3_stmt *s = db_ready(l, "INSERT INTO audit(time, who, tty, action, what, count, detail) VALUES(?,?,?,?,?,?,?)", e);

	if (s == NULL)
		return -1;
	db_int(s, 1, a->time);
	db_text(s, 2, a->who);
	db_text(s, 3, a->tty);
	db_text(s, 4, a->action);
	db_text(s, 5, a->what);
	db_int(s, 6, a->count);
	db_text(s, 7, a->detail);
	return db_finish(l, s, "write the audit trail", e);
}

struct audit_page {
	struct audit_row row[FACTS_PAGE];
	int64_t last;
};

static int page_audits(struct ledger *l, int64_t since, int64_t before, const char *pattern, struct audit_page *p,
		       struct err *e)
{
	/* the blank behind what: "incident 7 *" is incident 7, with or without more, and not 70 */
	sqlite3_stmt *s = db_ready(l,
				   "SELECT time, who, tty, action, what, count, detail, id FROM audit WHERE id > ?4 AND time >= ?1"
				   " AND (?2 = 0 OR time < ?2) AND (?3 IS NULL OR (what || ' ') GLOB ?3) ORDER BY id LIMIT 32",
				   e);
	int rc, n = 0;

	if (s == NULL)
		return -1;
	db_int(s, 1, since);
	db_int(s, 2, before);
	if (pattern != NULL)
		db_text(s, 3, pattern);
	db_int(s, 4, p->last);
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		struct audit_row *a = &p->row[n++];
		*a = (struct audit_row){ .time = sqlite3_column_int64(s, 0), .count = sqlite3_column_int64(s, 5) };
		db_get_text(s, 1, a->who, sizeof a->who);
		db_get_text(s, 2, a->tty, sizeof a->tty);
		db_get_text(s, 3, a->action, sizeof a->action);
		db_get_text(s, 4, a->what, sizeof a->what);
		db_get_text(s, 6, a->detail, sizeof a->detail);
		p->last = sqlite3_column_int64(s, 7);
	}
	if (rc != SQLITE_DONE)
		n = db_fail(l, e, "read the audit trail");
	db_done(l, s);
	return n;
}

int ledger_audits(struct ledger *l, int64_t since, int64_t before, const char *what_pattern,
		  int (*each)(void *, const struct audit_row *), void *arg, struct err *e)
{
	struct audit_page p = { .last = 0 };
	int n, stop;

	do {
		n = page_audits(l, since, before, what_pattern, &p, e);
		for (int i = 0; i < n; i++)
			if ((stop = each(arg, &p.row[i])) != 0)
				return stop;
	} while (n == FACTS_PAGE);
	return n < 0 ? -1 : 0;
}

int ledger_meta_put(struct ledger *l, const char *name, int64_t value, struct err *e)
{
	sqlite3_stmt *s = db_ready(l, "INSERT OR REPLACE INTO meta VALUES(?, ?)", e);

	if (s == NULL)
		return -1;
	db_text(s, 1, name);
	db_int(s, 2, value);
	return db_finish(l, s, "write a setting", e);
}

int ledger_meta_get(struct ledger *l, const char *name, int64_t *value, struct err *e)
{
	sqlite3_stmt *s = db_ready(l, "SELECT value FROM meta WHERE name=?", e);

	if (s == NULL)
		return -1;
	db_text(s, 1, name);
	int rc = sqlite3_step(s);
	*value = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : 0;
	rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : db_fail(l, e, "read a setting");
	db_done(l, s);
	return rc;
}

static int trails_write(struct ledger *l, int64_t saved_at, int (*next)(void *, const char **, struct slice *), void *arg,
			struct err *e)
{
	const char *origin;
	struct slice blob;
	sqlite3_stmt *s = db_ready(l, "DELETE FROM trail", e);

	if (s == NULL || db_finish(l, s, "forget old windows", e) != 0)
		return -1;
	while (next(arg, &origin, &blob)) {
		s = db_ready(l, "INSERT OR REPLACE INTO trail VALUES(?, ?)", e);
		if (s == NULL)
			return -1;
		db_text(s, 1, origin);
		(void)sqlite3_bind_blob64(s, 2, blob.p, blob.n, SQLITE_STATIC);
		if (db_finish(l, s, "save a window", e) != 0)
			return -1;
	}
	return ledger_meta_put(l, META_TRAILS_SAVED, saved_at, e);
}

int ledger_trails_replace(struct ledger *l, int64_t saved_at, int (*next)(void *, const char **, struct slice *), void *arg,
			  struct err *e)
{
	if (ledger_begin(l, e) != 0)
		return -1;
	if (trails_write(l, saved_at, next, arg, e) != 0) {
		ledger_undo(l);
		return -1;
	}
	return ledger_commit(l, e);
}

int ledger_trail_forget(struct ledger *l, const char *origin, struct err *e)
{
	sqlite3_stmt *s = db_ready(l, "DELETE FROM trail WHERE origin=?", e);

	if (s == NULL)
		return -1;
	db_text(s, 1, origin);
	return db_finish(l, s, "forget a window", e);
}

int ledger_trails(struct ledger *l, int (*each)(void *, const char *, struct slice), void *arg, struct err *e)
{
	sqlite3_stmt *s = db_ready(l, "SELECT origin, blob FROM trail", e);
	int rc, stop = 0;

	if (s == NULL)
		return -1;
	while (stop == 0 && (rc = sqlite3_step(s)) == SQLITE_ROW) {
		const char *origin = (const char *)sqlite3_column_text(s, 0);
		struct slice blob = { sqlite3_column_blob(s, 1), (size_t)sqlite3_column_bytes(s, 1) };
		stop = each(arg, origin ? origin : "", blob);
	}
	if (stop == 0 && rc != SQLITE_DONE)
		stop = db_fail(l, e, "read the windows");
	db_done(l, s);
	return stop;
}

int ledger_prune(struct ledger *l, int64_t before, uint64_t *removed, struct err *e)
{
	static const char *const sql[] = {
		"DELETE FROM message WHERE changed < ? AND state IN (5, 7, 8)",
		("DELETE FROM incident WHERE closed != 0 AND closed < ? AND NOT EXISTS"
		" (SELECT 1 FROM message WHERE message.incident = incident.id)"),
		"DELETE FROM audit WHERE time < ?",
	};

	*removed = 0;
	for (size_t i = 0; i < sizeof sql / sizeof *sql; i++) {
		sqlite3_stmt *s = db_ready(l, sql[i], e);
		if (s == NULL)
			return -1;
		db_int(s, 1, before);
		if (db_finish(l, s, "forget old rows", e) != 0)
			return -1;
		*removed += (uint64_t)sqlite3_changes64(l->db);
	}
	return 0;
}
