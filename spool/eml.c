/* eml.c - RFC 5322 files, one per message: a flat pickup folder, or Maildir-like new and cur.
 *
 * There is no envelope: the header is all there is, and whoever wrote the message wrote it.
 * A login is believed only from the field that the administrator named, because only he
 * knows that his software writes it and removes what a client put there. The stage is a
 * hidden directory: programs that poll such a folder skip names with a leading dot. */
#include "spool/format.h"

#include <fnmatch.h>
#include <stdio.h>
#include <sys/inotify.h>

#include "base/net.h"
#include "spool/rfc822.h"

#define CHUNK 16384
#define NAMES_DEFAULT "*.eml"
#define EXTENSION_MAX 12

enum { DIR_FLAT, DIR_NEW, DIR_CUR };

/* ---- names ---- */

static bool pattern_match(const char *patterns, const char *file)
{
	struct slice rest = slice_str(patterns && *patterns ? patterns : NAMES_DEFAULT), one;
	char pattern[QUEUE_ID_MAX + 1];

	while (rest.n > 0) {
		if (!slice_cut(&rest, ' ', &one)) {
			one = rest;
			rest.n = 0;
		}
		one = slice_trim(one);
		if (one.n == 0 || one.n >= sizeof pattern)
			continue;
		(void)slice_text(pattern, sizeof pattern, one);
		if (fnmatch(pattern, file, FNM_PERIOD | FNM_CASEFOLD) == 0)
			return true;
	}
	return false;
}

/* Names under which programs write what is not finished yet. */
static bool unfinished(struct slice file)
{
	static const struct slice tails[] = { { ".tmp", 4 }, { ".part", 5 }, { ".swp", 4 }, { ".em_", 4 }, { "~", 1 } };

	for (size_t i = 0; i < sizeof tails / sizeof *tails; i++)
		if (file.n >= tails[i].n &&
		    slice_ieq((struct slice){ file.p + file.n - tails[i].n, tails[i].n }, tails[i]))
			return true;
	return false;
}

static enum seen eml_identify(const struct spool_set *set, unsigned dir, struct slice file, struct queue_id *out)
{
	if (!queue_id_set(out, file))
		return SEEN_NOISE;
	if (dir != DIR_FLAT)
		return SEEN_MESSAGE;
	if (pattern_match(set->names, out->text))
		return SEEN_MESSAGE;
	/* Programs make the Maildir directories when they please: they are no messages. */
	if (slice_eq(file, SLICE("new")) || slice_eq(file, SLICE("cur")) || slice_eq(file, SLICE("tmp")))
		return SEEN_NOISE;
	return unfinished(file) ? SEEN_NOISE : SEEN_MAYBE;
}

static size_t base36(char *text, uint64_t v, size_t pad)
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
	char back[16];
	size_t n = 0, k = 0;

	for (; k < pad || v > 0; v /= 36)
		back[k++] = digits[v % 36];
	while (k > 0)
		text[n++] = back[--k];
	return n;
}

/* "1795291985.M3P4.host:2,S": digits, a dot, and not the name of a file with an extension we were told of. */
static bool maildir_name(struct slice name)
{
	size_t n = 0;

	while (n < name.n && name.p[n] >= '0' && name.p[n] <= '9')
		n++;
	for (size_t i = n; i + 3 <= name.n; i++)
		if (slice_starts((struct slice){ name.p + i, name.n - i }, SLICE(":2,")))
			return true;
	return n >= 9 && n < name.n && name.p[n] == '.' && !slice_ends(name, SLICE(".eml"));
}

static bool fresh_maildir(struct slice old, int64_t sec, uint64_t usec, uint64_t ino, struct queue_id *out)
{
	struct slice flags = { old.p + old.n, 0 };
	char text[QUEUE_ID_MAX + 1];

	for (size_t i = 0; i + 3 <= old.n; i++)
		if (flags.n == 0 && slice_starts((struct slice){ old.p + i, old.n - i }, SLICE(":2,")))
			flags = (struct slice){ old.p + i, old.n - i };
	if (flags.n > 64)
		flags.n = 0;
	int n = snprintf(text, sizeof text, "%lld.M%lluP0Q%llu.spoolward%.*s", (long long)sec, (unsigned long long)usec,
			 (unsigned long long)ino, (int)flags.n, flags.p);
	return n > 0 && (size_t)n < sizeof text && queue_id_set(out, (struct slice){ text, (size_t)n });
}

/* Without the mark of an earlier release, so that names do not grow. */
static struct slice unmark(struct slice stem)
{
	size_t n = stem.n;

	while (n > 0 &&
	       ((stem.p[n - 1] >= '0' && stem.p[n - 1] <= '9') || (stem.p[n - 1] >= 'a' && stem.p[n - 1] <= 'z')))
		n--;
	/* the r itself is one of the letters */
	if (stem.n - n == 11 && n > 1 && stem.p[n - 1] == '-' && stem.p[n] == 'r')
		stem.n = n - 1;
	return stem;
}

static bool fresh_flat(struct slice old, int64_t sec, uint64_t usec, struct queue_id *out)
{
	struct slice stem = old, tail = { old.p + old.n, 0 };
	char text[QUEUE_ID_MAX + 64], mark[32] = "-r";
	size_t n = 2;

	for (size_t i = old.n; i-- > 1;) {
		if (old.p[i] == '.' && old.n - i <= EXTENSION_MAX) {
			stem.n = i;
			tail = (struct slice){ old.p + i, old.n - i };
			break;
		}
	}
	n += base36(mark + n, (uint64_t)sec, 6);
	n += base36(mark + n, usec, 4);
	stem = unmark(stem);
	if (stem.n > QUEUE_ID_MAX - n - tail.n)
		stem.n = QUEUE_ID_MAX - n - tail.n;
	while (stem.n > 0 && ((unsigned char)stem.p[stem.n] & 0xc0) == 0x80)
		stem.n--; /* not inside a UTF-8 character */
	if (stem.n > 0)
		memcpy(text, stem.p, stem.n);
	memcpy(text + stem.n, mark, n);
	if (tail.n > 0)
		memcpy(text + stem.n + n, tail.p, tail.n);
	return queue_id_set(out, (struct slice){ text, stem.n + n + tail.n });
}

static bool eml_fresh(struct slice old, int64_t sec, int32_t usec, uint64_t ino, unsigned attempt, struct queue_id *out)
{
	uint64_t us = (uint64_t)usec + attempt % 1000000;
	struct queue_id checked;

	if (sec < 0 || usec < 0 || usec >= 1000000 || !queue_id_set(&checked, old))
		return false;
	for (unsigned twice = 0; twice < 2; twice++, us++) {
		int64_t s = sec + (int64_t)(us / 1000000);
		bool made = maildir_name(queue_id_slice(&checked)) ?
				    fresh_maildir(queue_id_slice(&checked), s, us % 1000000, ino, out) :
				    fresh_flat(queue_id_slice(&checked), s, us % 1000000, out);

		if (!made || !slice_eq(queue_id_slice(out), old))
			return made;
	}
	return false;
}

/* ---- header ---- */

enum source_of_sender { BY_FROM, BY_RETURN_PATH, BY_X_SENDER, BY_SETTING, BY_NONE };

struct facts {
	const struct spool_set *set;
	struct card *card;
	struct walk *walk;       /* NULL in envelope() */
	enum source_of_sender by;
	bool null_sender, in_address, login, client, exact_wanted;
	size_t nsender;
	struct addresses addresses;
	uint32_t exact, named;   /* recipients of X-Receiver fields; of To, Cc, Bcc */
	uint32_t listed;
	char sender[ADDRESS_MAX];
};

static bool is_setting(const char *setting, struct slice name)
{
	return setting != NULL && *setting != '\0' && slice_ieq(slice_str(setting), name);
}

static void take_sender(struct facts *f, const struct field *field)
{
	static const struct {
		struct slice name;
		enum source_of_sender by;
	} rows[] = {
		{ { "X-Sender", 8 }, BY_X_SENDER },
		{ { "Return-Path", 11 }, BY_RETURN_PATH },
		{ { "From", 4 }, BY_FROM },
	};
	enum source_of_sender by = is_setting(f->set->sender_header, field->name) ? BY_SETTING : BY_NONE;
	char text[ADDRESS_MAX];
	struct slice address;

	for (size_t i = 0; by == BY_NONE && i < sizeof rows / sizeof *rows; i++)
		if (slice_ieq(rows[i].name, field->name))
			by = rows[i].by;
	if (by == BY_NONE || (f->by != BY_NONE && by <= f->by))
		return;
	bool have = address_first(field->body, text, &address);
	if (!have && (by == BY_FROM || !slice_eq(slice_trim(field->body), SLICE("<>"))))
		return;
	f->by = by;
	f->null_sender = !have;
	f->nsender = address.n;
	memcpy(f->sender, text, address.n);
}

static void take_client(struct facts *f, struct slice value)
{
	struct net net;
	char text[NET_TEXT];

	if (f->client || !net_parse(value, &net))
		return;
	f->client = true;
	net_text(&net, text);
	(void)card_put(f->card, &f->card->client, slice_str(text), NET_TEXT);
}

static void list_recipient(void *arg, struct slice address)
{
	struct facts *f = arg;

	walk_recipient(f->walk, address);
	f->listed++;
}

/* X-Receiver names one each; To, Cc and Bcc are only asked where there is none. */
static void take_recipients(struct facts *f, const struct field *field)
{
	static const struct { struct slice name; bool exact; } rows[] = {
		{ { "X-Receiver", 10 }, true }, { { "X-Envelope-To", 13 }, true }, { { "To", 2 }, false },
		{ { "Cc", 2 }, false }, { { "Bcc", 3 }, false },
	};
	size_t i = 0, n = sizeof rows / sizeof *rows;

	while (i < n && !slice_ieq(rows[i].name, field->name))
		i++;
	if (i == n)
		return;
	address_fn *list = f->walk != NULL && rows[i].exact == f->exact_wanted ? list_recipient : NULL;
	if (field->first)
		addresses_init(&f->addresses);
	addresses_feed(&f->addresses, field->body, list, f);
	if (!field->last)
		return;
	addresses_end(&f->addresses, list, f);
	uint32_t *sum = rows[i].exact ? &f->exact : &f->named;
	if (*sum < RECIPIENTS_MAX / 2)
		*sum += f->addresses.count;
}

static int envelope_field(void *arg, const struct field *field)
{
	struct facts *f = arg;
	struct slice body = slice_trim(field->body);

	take_recipients(f, field);
	if (!field->first)
		return 0;
	take_sender(f, field);
	if (!f->login && body.n > 0 && is_setting(f->set->login_header, field->name)) {
		(void)card_put(f->card, &f->card->login, body, LOGIN_MAX);
		f->login = true;
	}
	if (is_setting(f->set->client_header, field->name))
		take_client(f, body);
	return 0;
}

/* Feeds the header; *fields: how many it has. */
static int header_read(struct source *src, field_fn *got, void *arg, uint32_t *fields, struct err *e)
{
	struct headers h;
	char buf[CHUNK];
	uint64_t at = 0;
	bool more = true;

	headers_init(&h);
	while (more && at < src->size) {
		ssize_t n = source_fill(src, buf, sizeof buf, at);

		if (n < 0)
			return err_sys(e, "read a message");
		if (n == 0)
			break;
		struct slice piece = { buf, (size_t)n };
		if (at == 0)
			(void)slice_drop_head(&piece, SLICE("\xef\xbb\xbf")); /* some web mail begins so */
		more = headers_feed(&h, piece, got, arg);
		at += (uint64_t)n;
	}
	headers_end(&h, got, arg);
	*fields = h.fields;
	return 0;
}

static uint32_t at_least_one(uint32_t n)
{
	return n == 0 ? 1 : n < RECIPIENTS_MAX ? n : RECIPIENTS_MAX;
}

static int eml_envelope(const struct spool_set *set, struct source *src, struct card *c, struct err *e)
{
	struct facts f = { .set = set, .card = c, .by = BY_NONE };
	uint32_t fields;

	if (header_read(src, envelope_field, &f, &fields, e) != 0)
		return -1;
	if (fields == 0)
		return err_set(e, ERR_HOSTILE, "no header field: not a message");
	(void)card_put(c, &c->sender, (struct slice){ f.sender, f.nsender }, ADDRESS_MAX);
	if (f.null_sender)
		c->flags |= CARD_NULL_SENDER;
	if (f.login) {
		c->flags |= CARD_AUTH;
	} else if (set->file_uid >= 0) {
		c->flags |= CARD_LOCAL;
		c->uid = set->file_uid;
	}
	c->recipients = at_least_one(f.exact > 0 ? f.exact : f.named);
	return 0;
}

/* ---- walk ---- */

static int count_field(void *arg, const struct field *field)
{
	take_recipients(arg, field);
	return 0;
}

static int walk_field(void *arg, const struct field *field)
{
	struct walk *w = arg;
	const struct { struct slice name; struct span *to; } rows[] = {
		{ SLICE("Subject"), &w->subject }, { SLICE("From"), &w->from }, { SLICE("Message-ID"), &w->message_id },
	};

	for (size_t i = 0; field->first && i < sizeof rows / sizeof *rows; i++)
		if (rows[i].to->n == 0 && slice_ieq(field->name, rows[i].name))
			(void)walk_put(w, rows[i].to, slice_trim(field->body), HEADER_MAX);
	return 0;
}

/* Three readings of the header: texts, which kind of recipient fields there is, the recipients. */
static int eml_walk(const struct spool_set *set, struct source *src, struct walk *w, struct err *e)
{
	struct facts f = { .set = set }, g = { .set = set, .walk = w };
	uint32_t fields;

	w->size = src->size;
	if (header_read(src, walk_field, w, &fields, e) != 0 || header_read(src, count_field, &f, &fields, e) != 0)
		return -1;
	g.exact_wanted = f.exact > 0;
	if (header_read(src, count_field, &g, &fields, e) != 0)
		return -1;
	/* Nobody named is not nobody to deliver to: the program that reads the folder decides that. */
	w->open = at_least_one(g.exact_wanted ? g.exact : g.named);
	if (g.listed != w->open)
		w->flags |= WALK_RCPT_CUT;
	w->flags |= WALK_WHOLE;
	return 0;
}

static int eml_content(struct source *src, int (*put)(void *arg, struct slice), void *arg, struct err *e)
{
	char buf[CHUNK];
	uint64_t at = 0;

	while (at < src->size) {
		ssize_t n = source_fill(src, buf, sizeof buf, at);

		if (n < 0)
			return err_sys(e, "read a message");
		if (n == 0)
			break;
		if (put(arg, (struct slice){ buf, (size_t)n }) != 0)
			return err_set(e, ERR_AGAIN, "reading a message was stopped");
		at += (uint64_t)n;
	}
	return 0;
}

static const struct spool_dir dirs[] = {
	[DIR_FLAT] = { "", DIR_TAKE, .complete = IN_CLOSE_WRITE | IN_MOVED_TO },
	[DIR_NEW] = { "new", DIR_TAKE, .complete = IN_MOVED_TO | IN_CREATE },
	[DIR_CUR] = { "cur", DIR_TAKE, .complete = IN_MOVED_TO | IN_CREATE },
};

static const struct spool_part parts[] = {
	{ NULL, "", "", PART_LIVE },
};

const struct spool_format spool_eml = {
	.name = "eml",
	.what = "folder of RFC 5322 files, flat or Maildir-like",
	.dirs = dirs,
	.ndirs = sizeof dirs / sizeof *dirs,
	.parts = parts,
	.nparts = sizeof parts / sizeof *parts,
	.stage = ".spoolward.stage",
	.head_bytes = 16384,
	.identify = eml_identify,
	.envelope = eml_envelope,
	.walk = eml_walk,
	.content = eml_content,
	.fresh = eml_fresh,
	.release_dir = DIR_FLAT,
	.release_same = true,
};
