/*
 * notify.c -- the notify protocol of systemd, in one datagram.
 */
#include "world/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>

void
notify_send(const char *fmt, ...)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char text[512];
	va_list args;
	size_t len;
	int fd, n;

	if (!path || (path[0] != '/' && path[0] != '@'))
		return;
	len = strlen(path);
	if (len >= sizeof(addr.sun_path))
		return;
	memcpy(addr.sun_path, path, len);
	if (path[0] == '@')
		addr.sun_path[0] = '\0';
	va_start(args, fmt);
	n = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(text))
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	/* Nobody may be listening any more; that is systemd's affair. */
	(void)sendto(fd, text, (size_t)n, MSG_NOSIGNAL, (struct sockaddr *)&addr,
		     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
	close(fd);
}

int64_t
notify_watchdog_ns(void)
{
	const char *usec = getenv("WATCHDOG_USEC");
	char *end = NULL;
	long long n;

	if (!usec || !getenv("NOTIFY_SOCKET"))
		return TIME_NEVER;
	errno = 0;
	n = strtoll(usec, &end, 10);
	if (errno || *end || n <= 0 || n > INT64_MAX / 1000)
		return TIME_NEVER;
	return n * 1000 / 2;
}
