#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "conf/mistake.h"
#include "conf/rows.h"

#define HUNDRED_YEARS (INT64_C(36525) * 86400)

static const struct { char unit; int64_t seconds; } spans[] = { { 'd', 86400 }, { 'h', 3600 }, { 'm', 60 }, { 's', 1 } };

static bool digits(struct slice *in, uint64_t max, uint64_t *out)
{
	struct slice d = { in->p, 0 };

	while (d.n < in->n && in->p[d.n] >= '0' && in->p[d.n] <= '9')
		d.n++;
	if (!slice_u64(d, max, out))
		return false;
	in->p += d.n;
	in->n -= d.n;
	return true;
}

/* Units must fall: "30m1h" is more often a slip than an hour and a half. */
bool conf_duration(struct slice text, int64_t *seconds)
{
	uint64_t n, sum = 0;
	size_t unit = 0;

	if (slice_u64(text, HUNDRED_YEARS, &n)) {
		*seconds = (int64_t)n;
		return true;
	}
	do {
		if (!digits(&text, HUNDRED_YEARS, &n) || text.n == 0)
			return false;
		while (unit < sizeof spans / sizeof *spans && spans[unit].unit != *text.p)
			unit++;
		if (unit == sizeof spans / sizeof *spans || n > (uint64_t)(HUNDRED_YEARS / spans[unit].seconds))
			return false;
		sum += n * (uint64_t)spans[unit++].seconds;
		text.p++;
		text.n--;
	} while (text.n > 0);
	if (sum > HUNDRED_YEARS)
		return false;
	*seconds = (int64_t)sum;
	return true;
}

bool conf_size(struct slice text, uint64_t *bytes)
{
	static const char units[] = "kmgt";
	const char *unit;
	unsigned shift = 0;
	uint64_t n;

	if (!digits(&text, UINT64_MAX, &n) || text.n > 1)
		return false;
	if (text.n == 1) {
		unit = memchr(units, ascii_lower(*text.p), sizeof units - 1);
		if (unit == NULL)
			return false;
		shift = 10 * (unsigned)(unit - units + 1);
	}
	if (n > UINT64_MAX >> shift)
		return false;
	*bytes = n << shift;
	return true;
}

/* Exactly two digits from lo to hi, after the character before (0: none). */
static bool two(struct slice *in, char before, int lo, int hi, int *out)
{
	uint64_t n;
	struct slice d;

	if (before != '\0' && (in->n == 0 || *in->p != before))
		return false;
	d = (struct slice){ in->p + (before != '\0'), 2 };
	if (in->n < 2 + (size_t)(before != '\0') || !slice_u64(d, (uint64_t)hi, &n) || (int)n < lo)
		return false;
	*out = (int)n;
	in->p = d.p + 2;
	in->n -= 2 + (size_t)(before != '\0');
	return true;
}

/* "", "Z", "+01:00": seconds east, *local if there is none. */
static bool zone(struct slice in, bool *local, int64_t *east)
{
	int h, m, sign = 1;

	*local = in.n == 0;
	*east = 0;
	if (in.n == 0 || slice_eq(in, SLICE("Z")))
		return true;
	if (*in.p == '-')
		sign = -1;
	else if (*in.p != '+')
		return false;
	in.p++;
	in.n--;
	if (!two(&in, '\0', 0, 23, &h) || !two(&in, ':', 0, 59, &m) || in.n > 0)
		return false;
	*east = sign * (h * 3600 + m * 60);
	return true;
}

static bool date(struct slice *in, struct tm *tm)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	uint64_t year;
	int leap;

	if (in->n < 4 || !slice_u64((struct slice){ in->p, 4 }, 9999, &year) || year < 1970)
		return false;
	in->p += 4;
	in->n -= 4;
	if (!two(in, '-', 1, 12, &tm->tm_mon) || !two(in, '-', 1, 31, &tm->tm_mday))
		return false;
	leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	tm->tm_mon--;
	tm->tm_year = (int)year - 1900;
	return tm->tm_mday <= days[tm->tm_mon] + (tm->tm_mon == 1 && leap);
}

bool conf_time(struct slice text, bool end_of_day, int64_t *real_s)
{
	struct tm tm = { .tm_isdst = -1 };
	bool local = true;
	int64_t east = 0;
	uint64_t at;

	if (slice_drop_head(&text, SLICE("@"))) {
		if (!slice_u64(text, INT64_MAX, &at))
			return false;
		*real_s = (int64_t)at;
		return true;
	}
	if (!date(&text, &tm))
		return false;
	if (text.n == 0 && end_of_day) {
		tm.tm_hour = 23, tm.tm_min = 59, tm.tm_sec = 59;
	} else if (text.n > 0) {
		if (!two(&text, 'T', 0, 23, &tm.tm_hour) || !two(&text, ':', 0, 59, &tm.tm_min))
			return false;
		if (text.n > 0 && *text.p == ':' && !two(&text, ':', 0, 59, &tm.tm_sec))
			return false;
		if (!zone(text, &local, &east))
			return false;
	}
	*real_s = local ? (int64_t)mktime(&tm) : (int64_t)timegm(&tm) - east;
	return true;
}

bool origin_kind_find(struct slice name, enum origin_kind *out)
{
	for (int i = 0; i < ORIGIN_KINDS; i++)
		if (slice_eq(name, slice_str(origin_kind_names[i]))) {
			*out = (enum origin_kind)i;
			return true;
		}
	return false;
}

const char *duration_text(char out[AMOUNT], uint64_t seconds)
{
	size_t at = 0;

	out[0] = '\0';
	for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
		uint64_t unit = (uint64_t)spans[i].seconds, n = seconds / unit;

		if (n > 0 && at < AMOUNT)
			at += (size_t)snprintf(out + at, AMOUNT - at, "%llu%c", (unsigned long long)n, spans[i].unit);
		seconds %= unit;
	}
	if (at == 0)
		(void)snprintf(out, AMOUNT, "0");
	return out;
}

const char *size_text(char out[AMOUNT], uint64_t bytes)
{
	static const char units[] = { '\0', 'K', 'M', 'G', 'T' };
	size_t i = 0;

	while (i + 1 < sizeof units && bytes > 0 && bytes % 1024 == 0) {
		bytes /= 1024;
		i++;
	}
	(void)snprintf(out, AMOUNT, "%llu%.1s", (unsigned long long)bytes, &units[i]);
	return out;
}

bool list_next(struct slice *in, bool blanks, struct slice *item)
{
	struct slice rest = slice_trim(*in);
	size_t n = 0;

	while (n < rest.n && rest.p[n] != ',' && !(blanks && (rest.p[n] == ' ' || rest.p[n] == '\t')))
		n++;
	if (rest.n == 0)
		return false;
	*item = slice_trim((struct slice){ rest.p, n });
	*in = (struct slice){ rest.p + n, rest.n - n };
	if (blanks)
		*in = slice_trim(*in);
	(void)slice_drop_head(in, SLICE(","));
	return true;
}
