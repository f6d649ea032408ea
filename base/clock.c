#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

int64_t clock_boot_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_BOOTTIME, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t clock_real_s(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec;
}

void clock_real_us(int64_t *sec, int32_t *usec)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	*sec = t.tv_sec;
	*usec = (int32_t)(t.tv_nsec / 1000);
}

void clock_text(int64_t real_s, char out[CLOCK_TEXT])
{
	time_t when = (time_t)real_s;
	struct tm tm;
	char zone[8];

	if (localtime_r(&when, &tm) == NULL || strftime(out, CLOCK_TEXT, "%Y-%m-%dT%H:%M:%S", &tm) == 0 ||
	    strftime(zone, sizeof zone, "%z", &tm) != 5) {
		(void)snprintf(out, CLOCK_TEXT, "@%lld", (long long)real_s);
		return;
	}
	size_t n = strlen(out);
	(void)snprintf(out + n, CLOCK_TEXT - n, "%.3s:%.2s", zone, zone + 3);
}
