#include "quarantine/ledger_db.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/own.h"

const char *const row_state_names[ROW_STATES] = {
	[ROW_TAKING] = "taking",       [ROW_STAGED] = "staged",     [ROW_HELD] = "held",
	[ROW_RELEASING] = "releasing", [ROW_RELEASED] = "released", [ROW_PURGING] = "purging",
	[ROW_PURGED] = "purged",       [ROW_GONE] = "gone",         [ROW_UNCERTAIN] = "uncertain",
};

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS message("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, state INTEGER NOT NULL, spool TEXT NOT NULL, format TEXT NOT NULL,"
	" queue_id TEXT NOT NULL, new_id TEXT NOT NULL, dev INTEGER, ino INTEGER, size INTEGER, dir INTEGER, depth INTEGER,"
	" mode INTEGER, uid INTEGER, gid INTEGER, mtime INTEGER, incident INTEGER, origin TEXT, sender TEXT, login TEXT,"
	" client TEXT, subject TEXT, sent_from TEXT, message_id TEXT, recipients INTEGER, done INTEGER, rcpts TEXT,"
	" arrived INTEGER, taken INTEGER, changed INTEGER, sha256 BLOB, stamps BLOB, boot_id TEXT, readable INTEGER);"
	"CREATE INDEX IF NOT EXISTS message_incident ON message(incident, state);"
	"CREATE INDEX IF NOT EXISTS message_state ON message(state, id);"
	"CREATE INDEX IF NOT EXISTS message_queue_id ON message(queue_id);"
	"CREATE TABLE IF NOT EXISTS incident("
	" id INTEGER PRIMARY KEY, origin TEXT, rule TEXT, mode TEXT, state TEXT, since INTEGER, updated INTEGER,"
	" closed INTEGER, recipients INTEGER, messages INTEGER, limit_ INTEGER, per INTEGER, would_take INTEGER,"
	" missed INTEGER, clients INTEGER, reason TEXT);"
	"CREATE TABLE IF NOT EXISTS origin("
	" origin TEXT PRIMARY KEY, state INTEGER, since INTEGER, until INTEGER, by_ TEXT, incident INTEGER, reason TEXT)"
	" WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS audit("
	" id INTEGER PRIMARY KEY, time INTEGER, who TEXT, tty TEXT, action TEXT, what TEXT, count INTEGER, detail TEXT);"
	"CREATE INDEX IF NOT EXISTS audit_time ON audit(time);"
	"CREATE TABLE IF NOT EXISTS trail(origin TEXT PRIMARY KEY, blob BLOB) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;";

#define COLUMNS                                                                                              \
	"id, state, spool, format, queue_id, new_id, dev, ino, size, dir, depth, mode, uid, gid, mtime, incident, " \
	"origin, sender, login, client, subject, sent_from, message_id, recipients, done, rcpts, arrived, taken, "  \
	"changed, sha256, stamps, boot_id, readable"

int db_fail(struct ledger *l, struct err *e, const char *what)
{
	int code = sqlite3_errcode(l->db);
	enum err_kind kind = code == SQLITE_FULL || code == SQLITE_IOERR || code == SQLITE_BUSY || code == SQLITE_NOMEM ||
					     code == SQLITE_CANTOPEN || code == SQLITE_READONLY
				     ? ERR_AGAIN
				     : ERR_BUG;

	if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
		return err_set(e, ERR_CONFIG,
			       "the ledger is damaged (%s: %s): stop spoolwardd, move ledger.db* away, start it: what is held is"
			       " found again by its cells",
			       what, sqlite3_errmsg(l->db));
	return err_set(e, kind, "ledger: %s: %s", what, sqlite3_errmsg(l->db));
}

static int exec(struct ledger *l, const char *sql, struct err *e)
{
	if (sqlite3_exec(l->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return db_fail(l, e, sql[0] == 'C' ? "make the tables" : sql);
	return 0;
}

/* user_version is written with the rows that the cells gave, so a ledger whose making was cut off is made again. */
static int read_version(struct ledger *l, int *version, struct err *e)
{
	sqlite3_stmt *s = db_ready(l, "PRAGMA user_version", e);

	if (s == NULL)
		return -1;
	int rc = sqlite3_step(s) == SQLITE_ROW ? 0 : db_fail(l, e, "read its version");
	*version = sqlite3_column_int(s, 0);
	db_done(l, s);
	return rc;
}

/* upgrades[n - 1] makes version n + 1 of version n, in one transaction. There is one version so far. */
static const char *const upgrades[] = { NULL };
#define LEDGER_VERSION ((int)(sizeof upgrades / sizeof *upgrades))

static int upgrade(struct ledger *l, int from, struct err *e)
{
	char set[64];

	if (from > LEDGER_VERSION)
		return err_set(e, ERR_CONFIG, "the ledger is of version %d, made by a newer Spoolward; this one knows %d", from,
			       LEDGER_VERSION);
	for (int v = from; v < LEDGER_VERSION; v++) {
		(void)snprintf(set, sizeof set, "PRAGMA user_version = %d", v + 1);
		if (ledger_begin(l, e) != 0)
			return -1;
		if (exec(l, upgrades[v - 1], e) != 0 || exec(l, set, e) != 0) {
			ledger_undo(l);
			return -1;
		}
		if (ledger_commit(l, e) != 0)
			return -1;
	}
	return 0;
}

static int open_version(struct ledger *l, bool *fresh, struct err *e)
{
	int version;

	if (read_version(l, &version, e) != 0)
		return -1;
	*fresh = version == 0;
	if (*fresh)
		return exec(l, schema, e);
	return upgrade(l, version, e);
}

int ledger_check(struct ledger *l, char *finding, size_t cap, struct err *e)
{
	sqlite3_stmt *s = db_ready(l, "PRAGMA quick_check(1)", e);

	if (s == NULL)
		return -1;
	int rc = sqlite3_step(s) == SQLITE_ROW ? 0 : db_fail(l, e, "check the ledger");
	if (rc == 0)
		db_get_text(s, 0, finding, cap);
	db_done(l, s);
	return rc;
}

int ledger_complete(struct ledger *l, int64_t last_id, struct err *e)
{
	static const char *const sql[] = {
		"INSERT OR IGNORE INTO message(id, state, spool, format, queue_id, new_id) VALUES(?, 0, '', '', '', '')",
		"DELETE FROM message WHERE id = ? AND state = 0",
	};

	for (size_t i = 0; last_id > 0 && i < sizeof sql / sizeof *sql; i++) {
		sqlite3_stmt *s = db_ready(l, sql[i], e);
		if (s == NULL)
			return -1;
		db_int(s, 1, last_id);
		if (db_finish(l, s, "reserve ids", e) != 0)
			return -1;
	}
	char set[64];
	(void)snprintf(set, sizeof set, "PRAGMA user_version = %d", LEDGER_VERSION);
	return exec(l, set, e);
}

int ledger_open(const char *path, struct ledger **out, bool *fresh, struct err *e)
{
	struct ledger *l = calloc(1, sizeof *l);
	pthread_mutexattr_t attr;

	*out = NULL;
	if (l == NULL)
		return err_sys(e, "open the ledger");
	(void)pthread_mutexattr_init(&attr);
	(void)pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	(void)pthread_mutex_init(&l->lock, &attr);
	(void)pthread_mutexattr_destroy(&attr);
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
	if (sqlite3_open_v2(path, &l->db, flags, NULL) != SQLITE_OK) {
		(void)db_fail(l, e, path);
		ledger_close(l);
		return -1;
	}
	(void)sqlite3_busy_timeout(l->db, 10000);
	if (exec(l, "PRAGMA journal_mode=WAL", e) != 0 || exec(l, "PRAGMA synchronous=FULL", e) != 0 ||
	    exec(l, "PRAGMA temp_store=MEMORY", e) != 0 || exec(l, "PRAGMA cache_size=-2000", e) != 0 ||
	    open_version(l, fresh, e) != 0) {
		ledger_close(l);
		return -1;
	}
	*out = l;
	return 0;
}

void ledger_close(struct ledger *l)
{
	if (l == NULL)
		return;
	for (size_t i = 0; i < STATEMENTS_MAX; i++)
		(void)sqlite3_finalize(l->cache[i].stmt);
	(void)sqlite3_close_v2(l->db);
	(void)pthread_mutex_destroy(&l->lock);
	free(l);
}

/* A cached statement, ready to bind; the lock is held until db_done(). Statement texts are literals. */
sqlite3_stmt *db_ready(struct ledger *l, const char *sql, struct err *e)
{
	size_t i;

	(void)pthread_mutex_lock(&l->lock);
	for (i = 0; i < STATEMENTS_MAX && l->cache[i].sql != NULL; i++)
		if (l->cache[i].sql == sql && !l->cache[i].busy) {
			l->cache[i].busy = true;
			return l->cache[i].stmt;
		}
	sqlite3_stmt *s = NULL;
	if (sqlite3_prepare_v3(l->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL) != SQLITE_OK) {
		(void)db_fail(l, e, "prepare");
		(void)pthread_mutex_unlock(&l->lock);
		return NULL;
	}
	if (i < STATEMENTS_MAX) {
		l->cache[i].sql = sql;
		l->cache[i].stmt = s;
		l->cache[i].busy = true;
	}
	return s;
}

void db_done(struct ledger *l, sqlite3_stmt *s)
{
	(void)sqlite3_reset(s);
	(void)sqlite3_clear_bindings(s);
	size_t i;
	for (i = 0; i < STATEMENTS_MAX && l->cache[i].stmt != s; i++)
		;
	if (i < STATEMENTS_MAX)
		l->cache[i].busy = false;
	else
		(void)sqlite3_finalize(s);
	(void)pthread_mutex_unlock(&l->lock);
}

/* Steps a statement without result rows to its end. */
int db_finish(struct ledger *l, sqlite3_stmt *s, const char *what, struct err *e)
{
	int rc = sqlite3_step(s);

	if (rc != SQLITE_DONE && rc != SQLITE_ROW)
		rc = db_fail(l, e, what);
	else
		rc = 0;
	db_done(l, s);
	return rc;
}

void db_text(sqlite3_stmt *s, int at, const char *text)
{
	(void)sqlite3_bind_text(s, at, text, -1, SQLITE_TRANSIENT);
}

static void bind_slice(sqlite3_stmt *s, int at, struct slice text)
{
	(void)sqlite3_bind_text(s, at, text.p, (int)text.n, SQLITE_TRANSIENT);
}

void db_int(sqlite3_stmt *s, int at, int64_t v)
{
	(void)sqlite3_bind_int64(s, at, v);
}

struct slice db_get_slice(sqlite3_stmt *s, int at)
{
	const char *p = (const char *)sqlite3_column_text(s, at);

	return (struct slice){ p, p ? (size_t)sqlite3_column_bytes(s, at) : 0 };
}

void db_get_text(sqlite3_stmt *s, int at, char *to, size_t cap)
{
	(void)slice_text(to, cap, db_get_slice(s, at));
}

int ledger_begin(struct ledger *l, struct err *e)
{
	(void)pthread_mutex_lock(&l->lock);
	if (exec(l, "BEGIN IMMEDIATE", e) != 0) {
		(void)pthread_mutex_unlock(&l->lock);
		return -1;
	}
	return 0;
}

void ledger_undo(struct ledger *l)
{
	(void)sqlite3_exec(l->db, "ROLLBACK", NULL, NULL, NULL);
	(void)pthread_mutex_unlock(&l->lock);
}

int ledger_commit(struct ledger *l, struct err *e)
{
	if (exec(l, "COMMIT", e) != 0) {
		ledger_undo(l);
		return -1;
	}
	(void)pthread_mutex_unlock(&l->lock);
	return 0;
}

int ledger_put(struct ledger *l, struct row *r, struct err *e)
{
	static const char sql[] = "INSERT OR REPLACE INTO message(" COLUMNS ") VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,"
				  "?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
	sqlite3_stmt *s = db_ready(l, sql, e);

	if (s == NULL)
		return -1;
	if (r->id != 0)
		db_int(s, 1, r->id);
	db_int(s, 2, r->state);
	db_text(s, 3, r->spool);
	db_text(s, 4, r->format);
	bind_slice(s, 5, queue_id_slice(&r->queue_id));
	bind_slice(s, 6, (struct slice){ r->new_id.text, r->new_id.n });
	const int64_t numbers[] = { (int64_t)r->dev, (int64_t)r->ino, (int64_t)r->size, r->dir, r->depth, r->mode, r->uid,
				    r->gid,	     r->mtime,	     r->incident };
	for (int i = 0; i < 10; i++)
		db_int(s, 7 + i, numbers[i]);
	const char *const texts[] = { r->origin, r->sender, r->login, r->client, r->subject, r->from, r->message_id };
	for (int i = 0; i < 7; i++)
		db_text(s, 17 + i, texts[i]);
	db_int(s, 24, r->recipients);
	db_int(s, 25, r->done);
	db_text(s, 26, r->rcpts ? r->rcpts : "");
	db_int(s, 27, r->arrived);
	db_int(s, 28, r->taken);
	db_int(s, 29, r->changed);
	(void)sqlite3_bind_blob(s, 30, r->sha256, sizeof r->sha256, SQLITE_TRANSIENT);
	(void)sqlite3_bind_blob(s, 31, r->stamps, (int)(r->nstamps * sizeof r->stamps[0]), SQLITE_TRANSIENT);
	db_text(s, 32, r->boot_id);
	db_int(s, 33, r->readable);
	int rc = sqlite3_step(s) == SQLITE_DONE ? 0 : db_fail(l, e, "write a message");
	if (rc == 0 && r->id == 0)
		r->id = sqlite3_last_insert_rowid(l->db);
	db_done(l, s);
	return rc;
}

static void read_blobs(sqlite3_stmt *s, struct row *r)
{
	if (sqlite3_column_bytes(s, 29) == (int)sizeof r->sha256)
		memcpy(r->sha256, sqlite3_column_blob(s, 29), sizeof r->sha256);
	size_t n = (size_t)sqlite3_column_bytes(s, 30);
	if (n > 0 && n % sizeof r->stamps[0] == 0 && n <= sizeof r->stamps) {
		memcpy(r->stamps, sqlite3_column_blob(s, 30), n);
		r->nstamps = (uint32_t)(n / sizeof r->stamps[0]);
	}
	struct slice rcpts = db_get_slice(s, 25);
	if (rcpts.n > 0)
		r->rcpts = strndup(rcpts.p, rcpts.n);
}

static void read_row(sqlite3_stmt *s, struct row *r)
{
	memset(r, 0, sizeof *r);
	r->id = sqlite3_column_int64(s, 0);
	r->state = (enum row_state)sqlite3_column_int(s, 1);
	db_get_text(s, 2, r->spool, sizeof r->spool);
	db_get_text(s, 3, r->format, sizeof r->format);
	r->queue_id.n = (uint16_t)slice_text(r->queue_id.text, sizeof r->queue_id.text, db_get_slice(s, 4));
	r->new_id.n = (uint16_t)slice_text(r->new_id.text, sizeof r->new_id.text, db_get_slice(s, 5));
	r->dev = (uint64_t)sqlite3_column_int64(s, 6);
	r->ino = (uint64_t)sqlite3_column_int64(s, 7);
	r->size = (uint64_t)sqlite3_column_int64(s, 8);
	r->dir = (unsigned)sqlite3_column_int(s, 9);
	r->depth = (unsigned)sqlite3_column_int(s, 10);
	r->mode = (mode_t)sqlite3_column_int64(s, 11);
	r->uid = (uid_t)sqlite3_column_int64(s, 12);
	r->gid = (gid_t)sqlite3_column_int64(s, 13);
	r->mtime = sqlite3_column_int64(s, 14);
	r->incident = sqlite3_column_int64(s, 15);
	db_get_text(s, 16, r->origin, sizeof r->origin);
	db_get_text(s, 17, r->sender, sizeof r->sender);
	db_get_text(s, 18, r->login, sizeof r->login);
	db_get_text(s, 19, r->client, sizeof r->client);
	db_get_text(s, 20, r->subject, sizeof r->subject);
	db_get_text(s, 21, r->from, sizeof r->from);
	db_get_text(s, 22, r->message_id, sizeof r->message_id);
	r->recipients = (uint32_t)sqlite3_column_int64(s, 23);
	r->done = (uint32_t)sqlite3_column_int64(s, 24);
	r->arrived = sqlite3_column_int64(s, 26);
	r->taken = sqlite3_column_int64(s, 27);
	r->changed = sqlite3_column_int64(s, 28);
	db_get_text(s, 31, r->boot_id, sizeof r->boot_id);
	r->readable = sqlite3_column_int(s, 32) != 0;
	read_blobs(s, r);
}

void row_free(struct row *r)
{
	free(r->rcpts);
	r->rcpts = NULL;
}

int ledger_move(struct ledger *l, int64_t id, enum row_state from, enum row_state to, int64_t now, struct err *e)
{
	sqlite3_stmt *s = db_ready(l, "UPDATE message SET state=?1, changed=?2,"
				     /* held, or at the start of a release: no new id of an earlier try may look like a commit */
				     " new_id = CASE WHEN ?1 IN (3, 4) THEN '' ELSE new_id END WHERE id=?3 AND state=?4", e);

	if (s == NULL)
		return -1;
	db_int(s, 1, to);
	db_int(s, 2, now);
	db_int(s, 3, id);
	db_int(s, 4, from);
	int rc = sqlite3_step(s) == SQLITE_DONE ? sqlite3_changes(l->db) : db_fail(l, e, "change a message's state");
	db_done(l, s);
	return rc;
}

int ledger_set_new_id(struct ledger *l, int64_t id, struct slice new_id, const char *boot_id, struct err *e)
{
	sqlite3_stmt *s = db_ready(l, "UPDATE message SET new_id=?, boot_id=? WHERE id=?", e);

	if (s == NULL)
		return -1;
	bind_slice(s, 1, new_id);
	db_text(s, 2, boot_id);
	db_int(s, 3, id);
	return db_finish(l, s, "note the new queue id", e);
}

int ledger_forget(struct ledger *l, int64_t id, struct err *e)
{
	sqlite3_stmt *s = db_ready(l, "DELETE FROM message WHERE id=?", e);

	if (s == NULL)
		return -1;
	db_int(s, 1, id);
	return db_finish(l, s, "forget a message", e);
}

static int one(struct ledger *l, sqlite3_stmt *s, struct row *out, struct err *e)
{
	int rc = sqlite3_step(s);

	if (rc == SQLITE_ROW)
		read_row(s, out);
	int result = rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : db_fail(l, e, "read a message");
	db_done(l, s);
	return result;
}

int ledger_get(struct ledger *l, int64_t id, struct row *out, struct err *e)
{
	sqlite3_stmt *s = db_ready(l, "SELECT " COLUMNS " FROM message WHERE id=?", e);

	if (s == NULL)
		return -1;
	db_int(s, 1, id);
	return one(l, s, out, e);
}

int ledger_find(struct ledger *l, const char *spool, struct slice queue_id, uint64_t ino, struct row *out, struct err *e)
{
	sqlite3_stmt *s = db_ready(l, "SELECT " COLUMNS " FROM message WHERE queue_id=? AND spool=? AND ino=? ORDER BY id DESC LIMIT 1", e);

	if (s == NULL)
		return -1;
	bind_slice(s, 1, queue_id);
	db_text(s, 2, spool);
	db_int(s, 3, (int64_t)ino);
	return one(l, s, out, e);
}

/* Every part of a selection is one AND of this text; what is not asked for is bound to NULL. GLOB would
 * treat [ as special: LIKE with escaped % and _ is what like_pattern() makes. */
#define SELECTED                                                                                                 \
	" FROM message WHERE (?1 & (1 << state)) != 0 AND (?2 IS NULL OR incident = ?2)"                         \
	" AND (?3 IS NULL OR origin LIKE ?3 ESCAPE '\\') AND (?4 IS NULL OR sender LIKE ?4 ESCAPE '\\')"         \
	" AND (?5 IS NULL OR char(10) || rcpts LIKE ?5 ESCAPE '\\') AND (?6 IS NULL OR subject LIKE ?6 ESCAPE '\\')" \
	" AND (?7 IS NULL OR spool = ?7) AND (?8 IS NULL OR size > ?8) AND (?9 IS NULL OR arrived < ?9)"          \
	" AND (?10 IS NULL OR arrived >= ?10)"

static void like_pattern(char *out, size_t cap, const char *pattern, const char *before, const char *after)
{
	size_t n = (size_t)snprintf(out, cap, "%s", before);

	for (; *pattern && n + 4 + strlen(after) < cap; pattern++) {
		char c = *pattern == '*' ? '%' : *pattern == '?' ? '_' : *pattern;
		if (c == *pattern && (c == '%' || c == '_' || c == '\\'))
			out[n++] = '\\';
		out[n++] = c;
	}
	(void)snprintf(out + n, cap - n, "%s", after);
}

static void bind_pattern(sqlite3_stmt *s, int at, const char *pattern, const char *before, const char *after)
{
	char like[1024];

	if (pattern == NULL)
		return;
	like_pattern(like, sizeof like, pattern, before, after);
	db_text(s, at, like);
}

static void bind_selection(sqlite3_stmt *s, const struct selection *q)
{
	db_int(s, 1, q->states);
	if (q->incident != 0)
		db_int(s, 2, q->incident);
	bind_pattern(s, 3, q->origin, "", "");
	bind_pattern(s, 4, q->sender, "", "");
	/* one line of the list: the pattern may match across lines only through its own * */
	bind_pattern(s, 5, q->recipient, "%\n", "\n%");
	bind_pattern(s, 6, q->subject, "", "");
	if (q->spool != NULL)
		db_text(s, 7, q->spool);
	if (q->larger != 0)
		db_int(s, 8, (int64_t)q->larger);
	if (q->before != 0)
		db_int(s, 9, q->before);
	if (q->since != 0)
		db_int(s, 10, q->since);
}


/* * and ? as in LIKE, ASCII without case; nothing else is special: an address may be joe@[192.0.2.1]. */
static bool wild(const char *p, const char *s)
{
	const char *star = NULL, *back = NULL;

	while (*s != '\0')
		if (*p == '*') {
			star = ++p;
			back = s;
		} else if (*p == '?' || ascii_lower(*p) == ascii_lower(*s)) {
			do /* one character, of however many bytes */
				s++;
			while (*p == '?' && (*s & 0xc0) == 0x80);
			p++;
		} else if (star != NULL) {
			p = star;
			s = ++back;
		} else {
			return false;
		}
	while (*p == '*')
		p++;
	return *p == '\0';
}

/* LIKE lets a * run across addresses; here each address is held against the pattern by itself. */
static bool recipient_ok(const struct selection *q, const struct row *r)
{
	struct slice rest = slice_str(r->rcpts), line;
	char address[ADDRESS_MAX + 1];

	if (q->recipient == NULL)
		return true;
	while (slice_line(&rest, &line)) {
		(void)slice_text(address, sizeof address, line);
		if (wild(q->recipient, address))
			return true;
	}
	return false;
}

#define PAGE 64

/* The next page of rows after id; its length or -1. */
static int page(struct ledger *l, const struct selection *q, int64_t after, struct row *rows, int64_t *last, struct err *e)
{
	sqlite3_stmt *s = db_ready(l, "SELECT " COLUMNS SELECTED " AND id > ?11 ORDER BY id LIMIT 64", e);
	int n = 0, rc;

	if (s == NULL)
		return -1;
	bind_selection(s, q);
	db_int(s, 11, after);
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		*last = sqlite3_column_int64(s, 0);
		read_row(s, &rows[n++]);
	}
	if (rc != SQLITE_DONE) {
		for (int i = 0; i < n; i++)
			row_free(&rows[i]);
		n = db_fail(l, e, "read messages");
	}
	db_done(l, s);
	return n;
}

/* Few ids: by key, each checked against the rest of the selection. */
static int each_id(struct ledger *l, const struct selection *q, int (*each)(void *, struct row *), void *arg, struct err *e)
{
	sqlite3_stmt *s;
	int stop = 0;

	for (size_t i = 0; i < q->nids && stop == 0; i++) {
		struct row r;
		s = db_ready(l, "SELECT " COLUMNS SELECTED " AND id = ?11", e);
		if (s == NULL)
			return -1;
		bind_selection(s, q);
		db_int(s, 11, q->ids[i]);
		int rc = one(l, s, &r, e);
		if (rc < 0)
			return -1;
		if (rc == 1) {
			stop = recipient_ok(q, &r) ? each(arg, &r) : 0;
			row_free(&r);
		}
	}
	return stop;
}

int ledger_each(struct ledger *l, const struct selection *q, int (*each)(void *, struct row *), void *arg, struct err *e)
{
	int64_t last = 0;
	int stop = 0, n;

	if (q->nids > 0)
		return each_id(l, q, each, arg, e);
	own_mem struct row *rows = calloc(PAGE, sizeof *rows);
	if (rows == NULL)
		return err_sys(e, "read messages");
	do {
		n = page(l, q, last, rows, &last, e);
		if (n < 0)
			return -1;
		for (int i = 0; i < n; i++) {
			if (stop == 0 && recipient_ok(q, &rows[i]))
				stop = each(arg, &rows[i]);
			row_free(&rows[i]);
		}
	} while (n == PAGE && stop == 0);
	return stop;
}

static int add_row(void *arg, struct row *r)
{
	struct ledger_sum *sum = arg;

	sum->messages++;
	sum->bytes += r->size;
	sum->last = r->id > sum->last ? r->id : sum->last;
	return 0;
}

int ledger_sum(struct ledger *l, const struct selection *q, struct ledger_sum *out, struct err *e)
{
	memset(out, 0, sizeof *out);
	if (q->nids > 0 || q->recipient != NULL)
		return ledger_each(l, q, add_row, out, e);
	sqlite3_stmt *s = db_ready(l, "SELECT count(*), coalesce(sum(size), 0), count(DISTINCT origin), coalesce(max(id), 0)" SELECTED, e);
	if (s == NULL)
		return -1;
	bind_selection(s, q);
	int rc = sqlite3_step(s) == SQLITE_ROW ? 0 : db_fail(l, e, "count messages");
	if (rc == 0) {
		out->messages = (uint64_t)sqlite3_column_int64(s, 0);
		out->bytes = (uint64_t)sqlite3_column_int64(s, 1);
		out->origins = (uint64_t)sqlite3_column_int64(s, 2);
		out->last = sqlite3_column_int64(s, 3);
	}
	db_done(l, s);
	return rc;
}
