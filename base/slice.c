#include "base/slice.h"

bool slice_ieq(struct slice a, struct slice b)
{
	return a.n == b.n && slice_istarts(a, b);
}

bool slice_cut(struct slice *in, char sep, struct slice *tok)
{
	const char *at = in->n ? memchr(in->p, sep, in->n) : NULL;

	if (at == NULL)
		return false;
	*tok = (struct slice){ in->p, (size_t)(at - in->p) };
	in->n -= tok->n + 1;
	in->p = at + 1;
	return true;
}

bool slice_line(struct slice *in, struct slice *line)
{
	if (in->n == 0)
		return false;
	if (!slice_cut(in, '\n', line)) {
		*line = *in;
		*in = (struct slice){ in->p + in->n, 0 };
	}
	(void)slice_drop_tail(line, SLICE("\r"));
	return true;
}

bool slice_starts(struct slice s, struct slice head)
{
	return s.n >= head.n && (head.n == 0 || memcmp(s.p, head.p, head.n) == 0);
}

bool slice_istarts(struct slice s, struct slice head)
{
	if (s.n < head.n)
		return false;
	for (size_t i = 0; i < head.n; i++)
		if (ascii_lower(s.p[i]) != ascii_lower(head.p[i]))
			return false;
	return true;
}

bool slice_ends(struct slice s, struct slice tail)
{
	return s.n >= tail.n && (tail.n == 0 || memcmp(s.p + s.n - tail.n, tail.p, tail.n) == 0);
}

bool slice_drop_head(struct slice *s, struct slice head)
{
	if (!slice_starts(*s, head))
		return false;
	s->p += head.n;
	s->n -= head.n;
	return true;
}

bool slice_drop_tail(struct slice *s, struct slice tail)
{
	if (!slice_ends(*s, tail))
		return false;
	s->n -= tail.n;
	return true;
}

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct slice slice_trim(struct slice s)
{
	while (s.n > 0 && blank(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

bool slice_u64(struct slice s, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	if (s.n == 0)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		uint64_t digit = (uint64_t)(s.p[i] - '0');
		if (v > (UINT64_MAX - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	if (v > max)
		return false;
	*out = v;
	return true;
}

size_t slice_text(char *dst, size_t cap, struct slice s)
{
	size_t n = s.n < cap ? s.n : cap - 1;

	for (size_t i = 0; i < n; i++)
		dst[i] = s.p[i] == '\0' ? '?' : s.p[i];
	dst[n] = '\0';
	return n;
}
