#include "base/escape.h"

#include <stdio.h>
#include <wchar.h>

/* Decodes one well-formed UTF-8 sequence (RFC 3629: no overlong form, no surrogate). */
static size_t utf8(struct slice s, uint32_t *out)
{
	static const struct { unsigned char mask, lead; size_t n; uint32_t least; } rows[] = {
		{ 0x80, 0x00, 1, 0 }, { 0xe0, 0xc0, 2, 0x80 }, { 0xf0, 0xe0, 3, 0x800 }, { 0xf8, 0xf0, 4, 0x10000 },
	};
	unsigned char c = s.n ? (unsigned char)s.p[0] : 0;

	for (size_t i = 0; s.n > 0 && i < sizeof rows / sizeof *rows; i++) {
		if ((c & rows[i].mask) != rows[i].lead)
			continue;
		if (s.n < rows[i].n)
			return 0;
		uint32_t v = c & (unsigned char)~rows[i].mask;
		for (size_t k = 1; k < rows[i].n; k++) {
			unsigned char next = (unsigned char)s.p[k];
			if ((next & 0xc0) != 0x80)
				return 0;
			v = v << 6 | (next & 0x3f);
		}
		if (v < rows[i].least || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
			return 0;
		*out = v;
		return rows[i].n;
	}
	return 0;
}

static const struct { uint32_t lo, hi; } hidden[] = {
	{ 0x00, 0x1f }, { 0x7f, 0x9f }, { 0xad, 0xad }, { 0x61c, 0x61c }, { 0x115f, 0x1160 }, { 0x17b4, 0x17b5 },
	{ 0x180b, 0x180f }, { 0x200b, 0x200f }, { 0x2028, 0x202e }, { 0x2060, 0x206f }, { 0x3164, 0x3164 },
	{ 0xe000, 0xf8ff }, { 0xfe00, 0xfe0f }, { 0xfeff, 0xfeff }, { 0xffa0, 0xffa0 }, { 0xfff0, 0xfffb },
	{ 0xfffe, 0xffff }, { 0x1bca0, 0x1bca3 }, { 0x1d173, 0x1d17a }, { 0xe0000, 0x10ffff },
};

size_t escape_passes(struct slice s)
{
	uint32_t c = 0;
	size_t n = utf8(s, &c);

	for (size_t i = 0; n > 0 && i < sizeof hidden / sizeof *hidden; i++)
		if (c >= hidden[i].lo && c <= hidden[i].hi)
			return 0;
	return n;
}

size_t escape_text(char *dst, size_t cap, struct slice in, enum escape_how how)
{
	static const char hex[] = "0123456789abcdef";
	size_t used = 0, fits = 0; /* fits: the last place from which ".." still fits */

	while (in.n > 0) {
		char unit[4];
		const char *from = unit;
		size_t take = escape_passes(in), n = take;

		if (take == 0) {
			unsigned char c = (unsigned char)in.p[0];
			unit[0] = '\\', unit[1] = 'x', unit[2] = hex[c >> 4], unit[3] = hex[c & 15];
			take = 1, n = 4;
		} else if (in.p[0] == '\\' || (in.p[0] == '"' && how == ESCAPE_QUOTED)) {
			unit[0] = '\\', unit[1] = in.p[0];
			n = 2;
		} else {
			from = in.p;
		}
		if (used + n + 1 > cap)
			break;
		memcpy(dst + used, from, n);
		used += n;
		if (used + 3 <= cap)
			fits = used;
		in.p += take;
		in.n -= take;
	}
	if (in.n > 0 && cap >= 3) {
		used = fits;
		dst[used++] = '.';
		dst[used++] = '.';
	}
	if (cap > 0)
		dst[used] = '\0';
	return used;
}

size_t text_utf8(char *dst, size_t cap, struct slice in)
{
	size_t used = 0;

	while (in.n > 0 && cap > 0) {
		uint32_t c = 0;
		size_t take = utf8(in, &c);
		struct slice unit = take > 0 && c != 0 ? (struct slice){ in.p, take } : SLICE("\xef\xbf\xbd");

		if (used + unit.n + 1 > cap)
			break;
		memcpy(dst + used, unit.p, unit.n);
		used += unit.n;
		take = take ? take : 1;
		in.p += take;
		in.n -= take;
	}
	if (cap > 0)
		dst[used] = '\0';
	return used;
}

size_t escape_columns(const char *text)
{
	struct slice s = slice_str(text);
	size_t columns = 0;

	while (s.n > 0) {
		uint32_t c = 0;
		size_t n = utf8(s, &c);
		int w = n > 1 ? wcwidth((wchar_t)c) : 1;

		columns += w > 0 ? (size_t)w : 0;
		n = n ? n : 1;
		s.p += n;
		s.n -= n;
	}
	return columns;
}
