#include "spool/format.h"

#include "base/net.h"

void card_init(struct card *c, enum card_kind kind)
{
	memset(c, 0, offsetof(struct card, text));
	c->kind = (uint32_t)kind;
	c->uid = -1;
}

void walk_init(struct walk *w)
{
	memset(w, 0, offsetof(struct walk, text));
}

bool card_put(struct card *c, struct span *to, struct slice text, size_t max)
{
	size_t room = CARD_TEXT - c->used, n = text.n;

	if (n > max)
		n = max;
	if (n > room)
		n = room;
	if (n > 0)
		memcpy(c->text + c->used, text.p, n);
	*to = (struct span){ c->used, (uint16_t)n };
	c->used = (uint16_t)(c->used + n);
	return n == text.n;
}

bool walk_put(struct walk *w, struct span *to, struct slice text, size_t max)
{
	size_t room = WALK_TEXT - w->used, n = text.n;

	if (n > max)
		n = max;
	if (n > room)
		n = room;
	if (n > 0)
		memcpy(w->text + w->used, text.p, n);
	*to = (struct span){ (uint16_t)w->used, (uint16_t)n };
	w->used += (uint32_t)n;
	return n == text.n;
}

void walk_recipient(struct walk *w, struct slice address)
{
	bool first = w->rcpts.n == 0;

	/* The list is one run of bytes: nothing may have been put behind it meanwhile. */
	if (address.n > ADDRESS_MAX || address.n + 1 > WALK_TEXT - w->used || (w->flags & WALK_RCPT_CUT) ||
	    (!first && (uint32_t)w->rcpts.at + w->rcpts.n != w->used)) {
		w->flags |= WALK_RCPT_CUT;
		return;
	}
	if (first)
		w->rcpts.at = (uint16_t)w->used;
	w->used += (uint32_t)slice_text(w->text + w->used, address.n + 1, address) + 1;
	w->rcpts.n = (uint16_t)(w->used - w->rcpts.at);
}

static bool inside(struct span s, size_t used, size_t max)
{
	return s.n <= max && (size_t)s.at + s.n <= used;
}

/* A card that only carries words for people may put them in any span. */
static bool texts_ok(const struct card *c)
{
	bool facts = c->kind == CARD_NEW;
	const struct { struct span at; size_t max; } rows[] = {
		{ c->id, QUEUE_ID_MAX },   { c->login, LOGIN_MAX },  { c->script, SCRIPT_MAX },
		{ c->sender, ADDRESS_MAX }, { c->client, NET_TEXT }, { c->first, QUEUE_ID_MAX },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (!inside(rows[i].at, c->used, facts ? rows[i].max : CARD_TEXT))
			return false;
	return true;
}

bool card_check(const struct card *c, size_t n)
{
	if (n < offsetof(struct card, text) || n > sizeof *c || c->used > CARD_TEXT || n < CARD_SIZE(c))
		return false;
	if (c->kind < CARD_NEW || c->kind >= CARD_KINDS || (c->flags & ~(uint32_t)CARD_FLAGS) != 0)
		return false;
	if (c->dir >= SPOOL_DIRS_MAX || c->depth > SPOOL_DEPTH_MAX)
		return false;
	if (c->uid < -1 || c->uid > UINT32_MAX || c->recipients > RECIPIENTS_MAX)
		return false;
	if (c->arrived_s < 0 || c->arrived_s > CARD_TIME_MAX || c->busy_s < 0 || c->busy_s > CARD_TIME_MAX || c->size > INT64_MAX || !texts_ok(c))
		return false;
	if (c->kind <= CARD_HOSTILE) {
		struct queue_id id;

		if (!queue_id_set(&id, CARD_GET(c, id)))
			return false;
	}
	return ((c->flags & CARD_AUTH) != 0) == (c->login.n > 0 && c->kind == CARD_NEW) &&
	       (!(c->flags & CARD_LOCAL) || c->uid >= 0) && (!(c->flags & CARD_NULL_SENDER) || c->sender.n == 0);
}

static bool stamps_ok(const struct walk *w)
{
	if (w->nstamps > WALK_STAMPS)
		return false;
	for (uint32_t i = 0; i < w->nstamps; i++) {
		const struct stamp *s = &w->stamps[i];

		if (s->width == 0 || s->width > STAMP_WIDTH_MAX || s->at > w->size || s->width > w->size - s->at)
			return false;
		if ((s->pad != '\0' && s->pad != ' ' && s->pad != '0') || s->delta > CARD_TIME_MAX ||
		    s->delta < -CARD_TIME_MAX)
			return false;
	}
	return true;
}

static bool list_ok(const struct walk *w)
{
	struct slice list = WALK_GET(w, rcpts), one;
	uint32_t n = 0;

	while (slice_cut(&list, '\0', &one)) {
		if (one.n > ADDRESS_MAX)
			return false;
		n++;
	}
	return list.n == 0 && (w->flags & WALK_RCPT_CUT ? n <= w->open : n == w->open);
}

bool walk_check(const struct walk *w, size_t n)
{
	if (n < offsetof(struct walk, text) || n > sizeof *w || w->used > WALK_TEXT || n < WALK_SIZE(w))
		return false;
	if ((w->flags & ~(uint32_t)(WALK_WHOLE | WALK_RCPT_CUT)) != 0 || w->size > INT64_MAX)
		return false;
	if (w->open > RECIPIENTS_MAX || w->done > RECIPIENTS_MAX || !stamps_ok(w))
		return false;
	return inside(w->subject, w->used, HEADER_MAX) && inside(w->from, w->used, HEADER_MAX) &&
	       inside(w->message_id, w->used, HEADER_MAX) && inside(w->rcpts, w->used, WALK_TEXT) && list_ok(w);
}
