#include "spool/rfc822.h"

enum { LINE_START, LINE_CR, IN_NAME, IN_BODY, IN_JUNK };

void headers_init(struct headers *h)
{
	memset(h, 0, offsetof(struct headers, name));
	h->state = LINE_START;
}

static void emit(struct headers *h, bool last, field_fn *got, void *arg)
{
	struct field f = {
		.name = { h->name, h->nname }, .body = { h->body, h->nbody }, .first = !h->emitted, .last = last,
	};

	h->emitted = true;
	h->nbody = 0;
	if (got(arg, &f) != 0)
		h->over = true;
}

/* The field ends here if there is one. */
static void field_end(struct headers *h, field_fn *got, void *arg)
{
	if (h->nname == 0)
		return;
	h->fields++;
	emit(h, true, got, arg);
	h->nname = 0;
	h->emitted = false;
}

static void body_add(struct headers *h, struct slice s, field_fn *got, void *arg)
{
	while (s.n > 0 && !h->over) {
		size_t room = sizeof h->body - h->nbody, n = s.n < room ? s.n : room;

		memcpy(h->body + h->nbody, s.p, n);
		h->nbody += n;
		s.p += n;
		s.n -= n;
		if (h->nbody == sizeof h->body && s.n > 0)
			emit(h, false, got, arg);
	}
}

static size_t take_name(struct headers *h, struct slice s)
{
	size_t i = 0;

	for (; i < s.n; i++) {
		char c = s.p[i];

		if (c == '\n')
			break;
		if (c == ':') {
			while (h->nname > 0 && (h->name[h->nname - 1] == ' ' || h->name[h->nname - 1] == '\t'))
				h->nname--;
			h->state = h->nname > 0 ? IN_BODY : IN_JUNK;
			return i + 1;
		}
		if (h->nname == sizeof h->name || c == '\0') {
			h->nname = 0;
			h->state = IN_JUNK;
			return i;
		}
		h->name[h->nname++] = c;
	}
	if (i < s.n) {
		h->nname = 0; /* a line without colon */
		h->state = LINE_START;
		i++;
	}
	return i;
}

static size_t take_body(struct headers *h, struct slice s, field_fn *got, void *arg)
{
	struct slice line;

	if (!slice_cut(&(struct slice){ s.p, s.n }, '\n', &line)) {
		body_add(h, s, got, arg);
		return s.n;
	}
	body_add(h, line, got, arg);
	if (h->nbody > 0 && h->body[h->nbody - 1] == '\r')
		h->nbody--;
	h->state = LINE_START;
	return line.n + 1;
}

static size_t take_start(struct headers *h, struct slice s, field_fn *got, void *arg)
{
	char c = s.p[0];

	if (h->state == LINE_START && (c == ' ' || c == '\t')) {
		h->state = h->nname > 0 ? IN_BODY : IN_JUNK;
		return 0;
	}
	if (h->state == LINE_START && c == '\r') {
		h->state = LINE_CR;
		return 1;
	}
	field_end(h, got, arg);
	if (c == '\n') {
		h->over = true;
		return 1;
	}
	h->state = h->state == LINE_CR ? IN_JUNK : IN_NAME;
	return 0;
}

static size_t take_junk(struct headers *h, struct slice s)
{
	struct slice line;

	if (!slice_cut(&(struct slice){ s.p, s.n }, '\n', &line))
		return s.n;
	h->state = LINE_START;
	return line.n + 1;
}

bool headers_feed(struct headers *h, struct slice bytes, field_fn *got, void *arg)
{
	while (bytes.n > 0 && !h->over) {
		size_t n = 0;

		switch (h->state) {
		case IN_NAME:
			n = take_name(h, bytes);
			break;
		case IN_BODY:
			n = take_body(h, bytes, got, arg);
			break;
		case IN_JUNK:
			n = take_junk(h, bytes);
			break;
		default:
			n = take_start(h, bytes, got, arg);
		}
		bytes.p += n;
		bytes.n -= n;
		h->total += n;
		if (h->total > HEADER_TOTAL_MAX && !h->over) {
			if (h->state == IN_NAME)
				h->nname = 0;
			field_end(h, got, arg);
			h->over = true;
		}
	}
	return !h->over;
}

void headers_end(struct headers *h, field_fn *got, void *arg)
{
	if (h->over)
		return;
	if (h->state == IN_NAME)
		h->nname = 0;
	field_end(h, got, arg);
	h->over = true;
}

void addresses_init(struct addresses *a)
{
	memset(a, 0, offsetof(struct addresses, text));
}

static void keep(struct addresses *a, char c)
{
	if (a->n < sizeof a->text)
		a->text[a->n++] = c;
	else
		a->cut = true;
}

/* A separator: what was collected is an address. */
static void one_ends(struct addresses *a, address_fn *got, void *arg)
{
	struct slice s = slice_trim((struct slice){ a->text, a->n }), route;

	if (s.n > 0 && s.p[0] == '@' && slice_cut(&s, ':', &route))
		s = slice_trim(s);
	if (s.n > 0 && a->count < RECIPIENTS_MAX) {
		a->count++;
		if (got != NULL && !a->cut)
			got(arg, s);
	}
	a->n = 0;
	a->angle = a->had_angle = a->cut = false;
}

/* Inside a comment, a quoted string or behind a backslash. */
static void nested(struct addresses *a, char c)
{
	bool was_escaped = a->escaped;

	if (a->depth == 0)
		keep(a, c);
	a->escaped = !was_escaped && c == '\\';
	if (was_escaped || c == '\\')
		return;
	if (a->quoted && c == '"')
		a->quoted = false;
	else if (a->depth > 0 && c == '(' && a->depth < 1000)
		a->depth++;
	else if (a->depth > 0 && c == ')')
		a->depth--;
}

static void plain(struct addresses *a, char c, address_fn *got, void *arg)
{
	switch (c) {
	case '(':
		a->depth = 1;
		return;
	case '<':
		a->n = 0; /* what stood before was a name */
		a->cut = false;
		a->angle = true;
		return;
	case '>':
		a->had_angle = a->angle;
		a->angle = false;
		return;
	case ',':
	case ';':
		if (!a->angle)
			one_ends(a, got, arg);
		else
			keep(a, c);
		return;
	case ':':
		if (!a->angle) {
			a->n = 0; /* the name of a group */
			a->cut = false;
			return;
		}
		break;
	case '"':
		a->quoted = true;
		break;
	default:
		break;
	}
	if (!a->had_angle)
		keep(a, c);
}

void addresses_feed(struct addresses *a, struct slice bytes, address_fn *got, void *arg)
{
	for (size_t i = 0; i < bytes.n; i++) {
		if (a->depth > 0 || a->quoted || a->escaped)
			nested(a, bytes.p[i]);
		else
			plain(a, bytes.p[i], got, arg);
	}
}

void addresses_end(struct addresses *a, address_fn *got, void *arg)
{
	one_ends(a, got, arg);
	a->depth = 0;
	a->quoted = a->escaped = false;
}

struct first {
	char *out;
	struct slice *address;
	bool have;
};

static void take_first(void *arg, struct slice address)
{
	struct first *f = arg;

	if (f->have)
		return;
	memcpy(f->out, address.p, address.n);
	*f->address = (struct slice){ f->out, address.n };
	f->have = true;
}

bool address_first(struct slice body, char out[ADDRESS_MAX], struct slice *address)
{
	struct first f = { .out = out, .address = address };
	struct addresses a;

	*address = (struct slice){ out, 0 };
	addresses_init(&a);
	addresses_feed(&a, body, take_first, &f);
	addresses_end(&a, take_first, &f);
	return f.have;
}
