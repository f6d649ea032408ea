/* postfix.c - Postfix 3.x queue files, one per message, named by the queue id.
 *
 * A file is a row of records: type byte, length (7 bits a byte, low ones first), payload. It
 * starts with a C record of fixed size that says where the content lies; the envelope goes up
 * to M, the content up to X, what was extracted from headers up to E. Milters edit in place: a
 * p record says where to go on, and the text there ends with a p back.
 *
 * Every byte is read at most once per pass on a sound file. That is the bound on a hostile
 * one: who has read more bytes than the file has, is in a loop. */
#include "spool/format.h"

#include <stdio.h>
#include <sys/inotify.h>

#include "base/net.h"
#include "spool/rfc822.h"

#define CHUNK_MIN 4096
#define CHUNK_MAX 65536
#define TEXT_MAX 2048          /* of a payload, as a slice; Postfix's own lines are not longer */
#define RECORD_MAX (1u << 28)  /* as Postfix: four length bytes */
#define JUMPS_MAX 20000        /* Postfix gives up after 10,000 backward ones; each of ours may cost a read */
#define ENVELOPE_MAX 262144    /* bytes before the first recipient */
#define CONTENT_HEAD_MAX 32768 /* bytes of content in which the submitter is looked for */
#define C_FIELD 15

#define TYPES_ENVELOPE "MCTcFILSDRO/WVA>K<ionp"
#define TYPES_CONTENT "XLNwp"
#define TYPES_EXTRACT "XEDRO/PreAFIL>Konp"

struct reader {
	struct source *src;
	uint64_t at;     /* where the next record starts */
	uint64_t base;   /* file offset of buf[0] */
	size_t n, chunk; /* valid bytes; how many to read next */
	uint64_t eaten, limit;
	unsigned jumps;
	char buf[CHUNK_MAX];
};

struct record {
	char type;
	uint64_t at; /* of the payload */
	size_t n;
};

enum { REC_CUT = 0, REC_BAD = -1, REC_ERROR = -2, REC_STOPPED = 2 }; /* beside 1: a record */

struct sizes {
	uint64_t data, offset, recipients;
};

static void reader_init(struct reader *r, struct source *src)
{
	r->src = src;
	r->at = r->base = r->eaten = 0;
	r->n = 0;
	r->chunk = CHUNK_MIN;
	r->limit = src->size;
	r->jumps = 0;
}

/* Starts to read anew from there, with a new allowance of bytes. */
static void pass(struct reader *r, uint64_t at)
{
	r->at = at;
	r->limit = r->eaten + r->src->size;
}

/* The bytes at at: want of them (at most TEXT_MAX), fewer only at the end of the file. */
static int look(struct reader *r, uint64_t at, size_t want, struct slice *out)
{
	if (at < r->src->size && want > r->src->size - at)
		want = (size_t)(r->src->size - at);
	if (at < r->base || at + want > r->base + r->n) {
		bool onward = r->n > 0 && at >= r->base && at <= r->base + r->n;

		r->chunk = !onward ? CHUNK_MIN : r->chunk < CHUNK_MAX ? r->chunk * 4 : CHUNK_MAX;
		if (r->chunk > CHUNK_MAX)
			r->chunk = CHUNK_MAX;
		ssize_t got = source_fill(r->src, r->buf, r->chunk, at);
		r->base = at;
		r->n = got > 0 ? (size_t)got : 0;
		if (got < 0)
			return REC_ERROR;
	}
	size_t skip = (size_t)(at - r->base);
	out->p = r->buf + skip;
	out->n = r->n - skip < want ? r->n - skip : want;
	return 1;
}

/* The next record; r->at is behind it then. */
static int next(struct reader *r, struct record *rec)
{
	struct slice head;
	size_t i = 1, n = 0;
	int rc = look(r, r->at, 5, &head);

	if (rc < 0)
		return rc;
	for (;; i++) {
		if (i >= 5)
			return REC_BAD;
		if (i >= head.n)
			return REC_CUT;
		n |= (size_t)(head.p[i] & 0x7f) << (7 * (i - 1));
		if (!(head.p[i] & 0x80))
			break;
	}
	*rec = (struct record){ .type = head.p[0], .at = r->at + i + 1, .n = n };
	if (n >= RECORD_MAX)
		return REC_BAD;
	if (n > r->src->size || rec->at > r->src->size - n)
		return REC_CUT;
	r->at = rec->at + n;
	r->eaten += i + 1 + n;
	return r->eaten > r->limit ? REC_BAD : 1;
}

/* The first bytes of the payload, TEXT_MAX at most. */
static int payload(struct reader *r, const struct record *rec, struct slice *out)
{
	int rc = look(r, rec->at, rec->n < TEXT_MAX ? rec->n : TEXT_MAX, out);

	return rc > 0 && out->n < rec->n && out->n < TEXT_MAX ? REC_CUT : rc;
}

/* A number as "%15ld" writes it. */
static bool number(struct slice s, uint64_t *out)
{
	return slice_u64(slice_trim(s), INT64_MAX, out);
}

static int jump(struct reader *r, const struct record *rec)
{
	struct slice text;
	uint64_t to;
	int rc = payload(r, rec, &text);

	if (rc < 1)
		return rc;
	if (!number(text, &to) || ++r->jumps > JUMPS_MAX)
		return REC_BAD;
	if (to >= r->src->size)
		return REC_CUT; /* what milters add lies at the end */
	if (to > 0)
		r->at = to;
	return 1;
}

/* The next record that is not a pointer, of one of the types (a string). */
static int next_of(struct reader *r, const char *types, struct record *rec)
{
	for (;;) {
		int rc = next(r, rec);

		if (rc < 1)
			return rc;
		if (rec->type == '\0' || strchr(types, rec->type) == NULL)
			return REC_BAD;
		if (rec->type != 'p')
			return rc;
		rc = jump(r, rec);
		if (rc < 1)
			return rc;
	}
}

static int broken(struct reader *r, int rc, struct err *e)
{
	unsigned long long at = r->at;

	if (rc == REC_ERROR)
		return err_sys(e, "read a queue file");
	return err_set(e, ERR_HOSTILE, rc == REC_CUT ? "queue file: cut off at byte %llu" :
		       "queue file: bad record at or before byte %llu", at);
}

/* The C record, always first. */
static int sizes_read(struct reader *r, struct sizes *out)
{
	struct record rec;
	struct slice text;
	int rc = next(r, &rec);

	if (rc > 0)
		rc = payload(r, &rec, &text);
	if (rc < 1)
		return rc;
	if (rec.type != 'C' || text.n < 3 * C_FIELD + 2 || !number((struct slice){ text.p, C_FIELD }, &out->data) ||
	    !number((struct slice){ text.p + C_FIELD + 1, C_FIELD }, &out->offset) ||
	    !number((struct slice){ text.p + 2 * (C_FIELD + 1), C_FIELD }, &out->recipients))
		return REC_BAD;
	if (out->offset < r->at || out->data == 0)
		return REC_BAD;
	return out->offset >= r->src->size || out->data > r->src->size - out->offset ? REC_CUT : 1;
}

/* ---- names ---- */

static const char hex_digits[] = "0123456789ABCDEF";
static const char safe_digits[] = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz";

#define SHORT_USEC 5
#define LONG_SEC 6
#define LONG_USEC 4
#define SHORT_MAX (SHORT_USEC + 16)
#define LONG_LEN 40
#define USEC 1000000

static int digit(const char *alphabet, char c)
{
	const char *at = c ? strchr(alphabet, c) : NULL;

	return at ? (int)(at - alphabet) : -1;
}

static bool all_of(struct slice s, const char *alphabet)
{
	for (size_t i = 0; i < s.n; i++)
		if (digit(alphabet, s.p[i]) < 0)
			return false;
	return true;
}

/* Where the last z stands, if it stands where a long id has it. */
static bool long_split(struct slice id, size_t *z)
{
	for (size_t i = id.n; i-- > LONG_SEC + LONG_USEC;) {
		if (id.p[i] == 'z') {
			*z = i;
			return true;
		}
	}
	return false;
}

static bool id_short(struct slice id)
{
	return id.n > SHORT_USEC && id.n <= SHORT_MAX && all_of(id, hex_digits);
}

static bool id_long(struct slice id)
{
	size_t z;

	return id.n <= LONG_LEN && long_split(id, &z) && z + 1 < id.n && all_of(id, safe_digits);
}

static enum seen postfix_identify(const struct spool_set *set, unsigned dir, struct slice file, struct queue_id *out)
{
	(void)set;
	(void)dir;
	return (id_short(file) || id_long(file)) && queue_id_set(out, file) ? SEEN_MESSAGE : SEEN_NOISE;
}

/* Short ids hash by their own first characters, long ones by the hex digits of the microsecond:
 * one level must spread either kind, and an id's own first characters would be the date. */
static bool postfix_hash(struct slice id, unsigned level, char out[2])
{
	unsigned long usec = 0;
	char hex[SHORT_USEC + 12];
	size_t z;

	if (!id_short(id) && !id_long(id))
		return false;
	out[1] = '\0';
	if (!long_split(id, &z)) {
		out[0] = level < id.n ? id.p[level] : '_';
		return true;
	}
	for (size_t i = z - LONG_USEC; i < z; i++)
		usec = usec * 52 + (unsigned long)digit(safe_digits, id.p[i]);
	int n = snprintf(hex, sizeof hex, "%05lX", usec);
	out[0] = n > 0 && level < (unsigned)n ? hex[level] : '_';
	return true;
}

/* At least pad digits, the highest first. */
static void encode(char *text, size_t *n, uint64_t v, unsigned base, size_t pad)
{
	char back[64];
	size_t k = 0;

	for (; k < pad || v > 0; v /= base)
		back[k++] = safe_digits[v % base];
	while (k > 0)
		text[(*n)++] = back[--k];
}

static bool postfix_fresh(struct slice old, int64_t sec, int32_t usec, uint64_t ino, unsigned attempt,
			  struct queue_id *out)
{
	uint64_t us = (uint64_t)usec + attempt % USEC;
	char text[128];

	if (sec < 0 || usec < 0 || usec >= USEC || ino == 0)
		return false;
	for (unsigned twice = 0; twice < 2; twice++, us++) {
		size_t n = 0;

		if (id_long(old)) {
			encode(text, &n, (uint64_t)sec + us / USEC, 52, LONG_SEC);
			encode(text, &n, us % USEC, 52, LONG_USEC);
			text[n++] = 'z';
			encode(text, &n, ino, 51, 0);
		} else {
			n = (size_t)snprintf(text, sizeof text, "%05X%llX", (unsigned)(us % USEC),
					     (unsigned long long)ino);
		}
		if (!slice_eq((struct slice){ text, n }, old))
			return queue_id_set(out, (struct slice){ text, n });
	}
	return false;
}

/* ---- envelope ---- */

/* What the records say, before it is judged. The card holds the texts. */
struct facts {
	struct card *card;
	const struct spool_set *set;
	bool sender, login, first, created, logged_client, client;
};

static void put_once(struct facts *f, bool *done, struct span *to, struct slice text, size_t max)
{
	if (*done || text.n == 0)
		return;
	(void)card_put(f->card, to, text, max);
	*done = true;
}

/* The logged client is the original one that a content filter's XFORWARD names; the other is the peer. */
static void take_client(struct facts *f, struct slice value, bool logged)
{
	struct net net;
	char text[NET_TEXT];

	if (f->logged_client || (f->client && !logged) || !net_parse(value, &net))
		return;
	f->client = true;
	f->logged_client = logged;
	net_text(&net, text);
	(void)card_put(f->card, &f->card->client, slice_str(text), NET_TEXT);
}

static void take_attr(struct facts *f, struct slice text)
{
	struct slice name, id;
	struct queue_id queue_id;
	uint64_t v;

	if (!slice_cut(&text, '=', &name))
		return;
	if (slice_eq(name, SLICE("sasl_username"))) {
		put_once(f, &f->login, &f->card->login, text, LOGIN_MAX);
	} else if (slice_eq(name, SLICE("log_client_address"))) {
		take_client(f, text, true);
	} else if (slice_eq(name, SLICE("client_address"))) {
		take_client(f, text, false);
	} else if (slice_eq(name, SLICE("log_ident"))) {
		id = text;
		if (postfix_identify(NULL, 0, id, &queue_id) == SEEN_MESSAGE)
			put_once(f, &f->first, &f->card->first, id, QUEUE_ID_MAX);
	} else if (slice_eq(name, SLICE("create_time"))) {
		if (!f->created && slice_u64(text, CARD_TIME_MAX, &v)) {
			f->card->arrived_s = (int64_t)v;
			f->created = true;
		}
	} else if (slice_eq(name, SLICE("trace_flags")) && !slice_eq(text, SLICE("0"))) {
		f->card->flags |= CARD_NOT_BUSY;
	}
}

/* The queue manager patches a due warning into the file, and breaks if the file is not there: from two seconds before. */
static int64_t warning_from(struct slice text)
{
	uint64_t when;

	if (!number(text, &when) || when == 0 || when > CARD_TIME_MAX)
		return 0;
	return when > 2 ? (int64_t)when - 2 : 1;
}

static void take_record(struct facts *f, char type, struct slice text)
{
	struct slice sec;
	uint64_t v;

	switch (type) {
	case 'A':
		take_attr(f, text);
		break;
	case 'S':
		if (!f->sender)
			(void)card_put(f->card, &f->card->sender, text, ADDRESS_MAX);
		f->sender = true;
		break;
	case 'T':
		if (!f->created && f->card->arrived_s == 0 && slice_cut(&text, ' ', &sec) &&
		    slice_u64(sec, CARD_TIME_MAX, &v))
			f->card->arrived_s = (int64_t)v;
		break;
	case 'W':
		if (f->card->busy_s == 0)
			f->card->busy_s = warning_from(text);
		break;
	default:
		break;
	}
}

/* Records up to the first recipient: Postfix writes all that we want before it. */
static int facts_read(struct reader *r, const struct sizes *sizes, struct facts *f)
{
	struct record rec;
	struct slice text;

	while (r->at != sizes->offset) {
		int rc = next_of(r, TYPES_ENVELOPE, &rec);

		if (rc < 1)
			return rc;
		if (strchr("MRD/", rec.type) != NULL)
			break;
		rc = strchr("ASTW", rec.type) != NULL ? payload(r, &rec, &text) : 1;
		if (rc < 1)
			return rc;
		if (strchr("ASTW", rec.type) != NULL)
			take_record(f, rec.type, text);
		if (r->eaten > ENVELOPE_MAX)
			return REC_BAD;
	}
	return f->sender ? 1 : REC_BAD;
}

/* ---- who submitted local mail ---- */

struct submitter {
	int64_t uid;
	bool received, script;
	size_t n;
	char what[SCRIPT_MAX];
};

/* "by HOST (Postfix, from userid 1001)": pickup puts it first, above what the user wrote. */
static int64_t userid(struct slice body)
{
	struct slice host, inside, word = SLICE(", from userid ");
	uint64_t uid;

	body = slice_trim(body);
	if (!slice_drop_head(&body, SLICE("by ")) || !slice_cut(&body, '(', &host) || !slice_cut(&body, ')', &inside))
		return -1;
	for (size_t i = 0; i + word.n < inside.n; i++) {
		struct slice rest = { inside.p + i, inside.n - i };

		if (slice_drop_head(&rest, word) && slice_u64(rest, UINT32_MAX, &uid))
			return (int64_t)uid;
	}
	return -1;
}

/* "1001:form.php" (by PHP itself; the uid is not believed), "www.example.com/form.php for 192.0.2.7". */
static void take_script(struct submitter *s, struct slice body, bool with_uid)
{
	static const struct slice tail = { " for ", 5 };
	struct slice uid;
	uint64_t v;

	body = slice_trim(body);
	if (with_uid && (!slice_cut(&body, ':', &uid) || !slice_u64(uid, UINT32_MAX, &v)))
		return;
	for (size_t i = 0; !with_uid && i < body.n; i++)
		if (slice_starts((struct slice){ body.p + i, body.n - i }, tail))
			body.n = i;
	if (body.n == 0)
		return;
	s->n = body.n < sizeof s->what ? body.n : sizeof s->what;
	memcpy(s->what, body.p, s->n);
	s->script = true;
}

static int submitter_field(void *arg, const struct field *f)
{
	struct submitter *s = arg;

	if (!f->first)
		return 0;
	if (!s->received && slice_ieq(f->name, SLICE("Received"))) {
		s->received = true;
		s->uid = userid(f->body);
	} else if (!s->script && slice_ieq(f->name, SLICE("X-PHP-Originating-Script"))) {
		take_script(s, f->body, true);
	} else if (!s->script && slice_ieq(f->name, SLICE("X-PHP-Script"))) {
		take_script(s, f->body, false);
	}
	return s->received && (s->uid < 0 || s->script);
}

/* The message as a delivery agent reads it, up to X; put() gets each piece. */
static int content_read(struct reader *r, const struct sizes *sizes, int (*put)(void *, struct slice), void *arg)
{
	bool open_line = false;
	struct record rec;
	int rc;

	pass(r, sizes->offset);
	while ((rc = next_of(r, TYPES_CONTENT, &rec)) > 0 && rec.type != 'X') {
		if (rec.type == 'w')
			continue;
		while (rec.n > 0) {
			struct slice text;

			rc = payload(r, &rec, &text);
			if (rc < 1)
				return rc;
			if (put(arg, text) != 0)
				return REC_STOPPED;
			rec.at += text.n;
			rec.n -= text.n;
		}
		open_line = rec.type == 'L';
		if (!open_line && put(arg, SLICE("\n")) != 0)
			return REC_STOPPED;
	}
	if (rc > 0 && open_line && put(arg, SLICE("\n")) != 0)
		return REC_STOPPED;
	return rc;
}

/* content_read() into header fields; most: bytes after which it stops, 0: it reads all. */
struct header_sink {
	struct headers h;
	field_fn *got;
	void *arg;
	size_t most;
};

static int header_put(void *arg, struct slice piece)
{
	struct header_sink *s = arg;
	bool more = headers_feed(&s->h, piece, s->got, s->arg);

	return s->most > 0 && (!more || s->h.total > s->most);
}

static int header_read(struct reader *r, const struct sizes *sizes, size_t most, field_fn *got, void *arg)
{
	struct header_sink s = { .got = got, .arg = arg, .most = most };

	headers_init(&s.h);
	int rc = content_read(r, sizes, header_put, &s);
	headers_end(&s.h, got, arg);
	return rc == REC_STOPPED ? 1 : rc;
}

static bool double_bounce(struct slice sender)
{
	return slice_istarts(sender, SLICE("double-bounce@")) || slice_ieq(sender, SLICE("double-bounce"));
}

/* No client and no login: a user of this machine, or Postfix itself. */
static int local_read(struct reader *r, const struct sizes *sizes, struct facts *f)
{
	struct submitter who = { .uid = -1 };
	char script[SCRIPT_MAX + 16];
	struct card *c = f->card;
	int rc = header_read(r, sizes, CONTENT_HEAD_MAX, submitter_field, &who);

	if (rc < 1)
		return rc;
	if (who.uid < 0) {
		if (c->sender.n == 0 || double_bounce(CARD_GET(c, sender)))
			c->flags |= CARD_INTERNAL;
		return 1;
	}
	c->uid = who.uid;
	c->flags |= CARD_LOCAL;
	if (who.script) {
		size_t n = (size_t)snprintf(script, sizeof script, "%lld:", (long long)who.uid);

		memcpy(script + n, who.what, who.n);
		(void)card_put(c, &c->script, (struct slice){ script, n + who.n }, SCRIPT_MAX);
	}
	return 1;
}

static int postfix_envelope(const struct spool_set *set, struct source *src, struct card *c, struct err *e)
{
	struct facts f = { .card = c, .set = set };
	struct sizes sizes;
	struct reader r;
	int rc;

	reader_init(&r, src);
	rc = sizes_read(&r, &sizes);
	if (rc > 0)
		rc = facts_read(&r, &sizes, &f);
	if (rc > 0 && c->sender.n == 0)
		c->flags |= CARD_NULL_SENDER;
	if (rc > 0 && f.login)
		c->flags |= CARD_AUTH;
	if (rc > 0 && !f.login && !f.client)
		rc = local_read(&r, &sizes, &f);
	if (rc < 1)
		return broken(&r, rc, e);
	/* Each recipient takes three bytes at least: no file can claim more than it can hold. */
	c->recipients = (uint32_t)(sizes.recipients < RECIPIENTS_MAX ? sizes.recipients : RECIPIENTS_MAX);
	if (c->recipients > src->size / 3)
		c->recipients = (uint32_t)(src->size / 3);
	return 0;
}

/* ---- walk ---- */

struct walker {
	struct walk *walk;
	bool created, arrived;
	int64_t arrived_s;
	uint64_t warn_at;
	int64_t warn_s;
};

static int walk_field(void *arg, const struct field *f)
{
	struct walk *w = arg;
	const struct { struct slice name; struct span *to; } rows[] = {
		{ SLICE("Subject"), &w->subject }, { SLICE("From"), &w->from }, { SLICE("Message-ID"), &w->message_id },
	};

	for (size_t i = 0; f->first && i < sizeof rows / sizeof *rows; i++)
		if (rows[i].to->n == 0 && slice_ieq(f->name, rows[i].name))
			(void)walk_put(w, rows[i].to, slice_trim(f->body), HEADER_MAX);
	return 0;
}

static void add_stamp(struct walk *w, struct stamp s)
{
	if (w->nstamps < WALK_STAMPS)
		w->stamps[w->nstamps++] = s;
}

static void walk_time(struct walker *k, const struct record *rec, struct slice text)
{
	static const struct slice key = { "create_time=", 12 };
	struct slice sec;
	uint64_t v;

	if (rec->type == 'A' && !k->created && slice_drop_head(&text, key) && text.n <= STAMP_WIDTH_MAX &&
	    slice_u64(text, CARD_TIME_MAX, &v)) {
		k->created = true;
		if (!k->arrived)
			k->arrived_s = (int64_t)v;
		add_stamp(k->walk, (struct stamp){ .at = rec->at + key.n, .width = (uint8_t)text.n });
	} else if (rec->type == 'T' && !k->arrived && slice_cut(&text, ' ', &sec) &&
		   slice_u64(sec, CARD_TIME_MAX, &v)) {
		k->arrived = true;
		k->arrived_s = (int64_t)v;
	} else if (rec->type == 'W' && k->warn_at == 0 && text.n == C_FIELD && number(text, &v) && v > 0 &&
		   v <= CARD_TIME_MAX) {
		k->warn_at = rec->at;
		k->warn_s = (int64_t)v;
	}
}

static int walk_record(struct reader *r, struct walker *k, const struct record *rec)
{
	struct slice text;
	int rc;

	if (k->walk->open + k->walk->done >= RECIPIENTS_MAX)
		return REC_BAD;
	switch (rec->type) {
	case 'R':
		k->walk->open++;
		rc = payload(r, rec, &text);
		if (rc > 0)
			walk_recipient(k->walk, text);
		return rc;
	case 'D':
	case '/':
		k->walk->done++;
		return 1;
	case 'A':
	case 'T':
	case 'W':
		rc = payload(r, rec, &text);
		if (rc > 0)
			walk_time(k, rec, text);
		return rc;
	default:
		return 1;
	}
}

/* Envelope and extracted records as the queue manager reads them: it steps over the content. */
static int walk_envelope(struct reader *r, const struct sizes *sizes, struct walker *k)
{
	const char *types = TYPES_ENVELOPE;
	struct record rec;

	for (;;) {
		if (r->at == sizes->offset) {
			r->at += sizes->data;
			types = TYPES_EXTRACT;
		}
		int rc = next(r, &rec);
		if (rc < 1)
			return rc;
		if (rec.type == '\0' || strchr(types, rec.type) == NULL)
			return REC_BAD;
		if (rec.type == 'E')
			return 1;
		rc = rec.type == 'p' ? jump(r, &rec) : walk_record(r, k, &rec);
		if (rc < 1)
			return rc;
	}
}

static int postfix_walk(const struct spool_set *set, struct source *src, struct walk *w, struct err *e)
{
	struct walker k = { .walk = w };
	struct sizes sizes;
	struct reader r;

	(void)set;
	w->size = src->size;
	reader_init(&r, src);
	int rc = sizes_read(&r, &sizes);
	if (rc < 0)
		return broken(&r, rc, e);
	if (rc == REC_CUT)
		return 0;
	int content = header_read(&r, &sizes, 0, walk_field, w);
	if (content < 0)
		return broken(&r, content, e);
	pass(&r, 0);
	rc = walk_envelope(&r, &sizes, &k);
	if (rc < 0)
		return broken(&r, rc, e);
	if (k.warn_at > 0)
		add_stamp(w, (struct stamp){ k.warn_at, k.warn_s - k.arrived_s, C_FIELD, ' ' });
	if (rc > 0 && content > 0)
		w->flags |= WALK_WHOLE;
	return 0;
}

static int postfix_content(struct source *src, int (*put)(void *arg, struct slice), void *arg, struct err *e)
{
	struct sizes sizes;
	struct reader r;

	reader_init(&r, src);
	int rc = sizes_read(&r, &sizes);
	if (rc > 0)
		rc = content_read(&r, &sizes, put, arg);
	if (rc == REC_STOPPED)
		return err_set(e, ERR_AGAIN, "reading a message was stopped");
	return rc < 1 ? broken(&r, rc, e) : 0;
}

/* ---- the table ---- */

#define COMPLETE .mode_mask = 0700, .mode_want = 0700
/* The owner's x bit is Postfix's commit mark. In incoming it comes with a chmod; a close may be seen
 * there or, when the queue manager is faster, in active. A reload moves active back to incoming. */
static const struct spool_dir dirs[] = {
	{ "incoming", DIR_TAKE | DIR_HASHED, .complete = IN_ATTRIB | IN_MOVED_TO, COMPLETE },
	{ "active", DIR_TAKE | DIR_BUSY | DIR_HASHED, .complete = IN_MOVED_TO, COMPLETE },
	{ "deferred", DIR_TAKE | DIR_HASHED, .complete = IN_MOVED_TO, COMPLETE },
	{ "hold", DIR_HASHED, .complete = IN_ATTRIB | IN_MOVED_TO, COMPLETE },
};

static const struct spool_part parts[] = {
	{ NULL, "", "", PART_LIVE },
	{ "defer", "", "", PART_LOG | PART_OPTIONAL },
	{ "bounce", "", "", PART_NOTICE | PART_OPTIONAL },
	{ "trace", "", "", PART_NOTICE | PART_OPTIONAL },
};

static const char *const ask[] = {
	"/usr/sbin/postconf", "-c", "@", "-hx", /* prints them in this order */
	"queue_directory", "mail_owner", "hash_queue_names", "hash_queue_depth", NULL,
};

const struct spool_format spool_postfix = {
	.name = "postfix",
	.what = "Postfix 3.x queue directory",
	.dirs = dirs,
	.ndirs = sizeof dirs / sizeof *dirs,
	.parts = parts,
	.nparts = sizeof parts / sizeof *parts,
	.stage = "spoolward.stage",
	.head_bytes = 16384,
	.identify = postfix_identify,
	.hash = postfix_hash,
	.envelope = postfix_envelope,
	.walk = postfix_walk,
	.content = postfix_content,
	.fresh = postfix_fresh,
	.owned = true,
	.release_dir = 0,
	.file_mode = 0700,
	.kick_path = "public/qmgr",
	.kick_bytes = { "I", 1 },
	.ask = ask,
	.config_dir = "/etc/postfix",
};
