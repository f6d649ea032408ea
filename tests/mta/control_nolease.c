/* A daemon that is wrong on purpose: it does not wait until the MTA has let go of a message. What is being delivered
 * when it is taken is sent again when it is released. */
#include "quarantine/place.h"

int __wrap_place_still(int fd, struct err *e);

int __wrap_place_still(int fd, struct err *e)
{
	(void)fd;
	(void)e;
	return 1;
}
