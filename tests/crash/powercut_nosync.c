/* The control of test_powercut: the daemon with every sync of its own left out. Its ledger is still SQLite's, which syncs by
 * itself; what is lost is the order between the cells and the ledger. */
#include "base/sys.h"

int __wrap_sys_sync(int fd);
int __wrap_sys_syncfs(int fd);

int __wrap_sys_sync(int fd)
{
	(void)fd;
	return 0;
}

int __wrap_sys_syncfs(int fd)
{
	(void)fd;
	return 0;
}
