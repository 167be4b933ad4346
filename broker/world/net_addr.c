/*
 * net_addr.c -- addresses as people write them.
 *
 * Apart from net_real.c because the simulator and remoting need it too.
 */
#include "world/net.h"

#include "base/err.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>

void
net_addr_format(const struct net_addr *a, char ret_text[NET_ADDR_TEXT])
{
	char ip[INET6_ADDRSTRLEN] = "?";

	if (a->len == 4)
		(void)inet_ntop(AF_INET, a->ip, ip, sizeof(ip));
	else if (a->len == 16)
		(void)inet_ntop(AF_INET6, a->ip, ip, sizeof(ip));
	(void)snprintf(ret_text, NET_ADDR_TEXT, a->len == 16 ? "[%s]:%u" : "%s:%u", ip,
		       (unsigned)a->port);
}

int
net_addr_parse(const char *text, size_t n, struct net_addr *ret_addr)
{
	struct net_addr a = { .len = 4 };
	char ip[INET6_ADDRSTRLEN];
	size_t colon = n;
	uint32_t port = 0;
	int family = AF_INET;

	while (colon > 0 && text[colon - 1] != ':')
		colon--;
	if (colon == 0 || colon == n || n - colon > 5)
		return -1;
	for (size_t i = colon; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		port = port * 10 + (uint32_t)(text[i] - '0');
	}
	n = colon - 1;
	if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
		text++;
		n -= 2;
		family = AF_INET6;
		a.len = 16;
	}
	if (port > 65535 || n == 0 || n >= sizeof(ip))
		return -1;
	for (size_t i = 0; i < n; i++)
		ip[i] = text[i];
	ip[n] = '\0';
	if (inet_pton(family, ip, a.ip) != 1)
		return -1;
	a.port = (uint16_t)port;
	*ret_addr = a;
	return 0;
}

const char *
net_listen_text(int err)
{
	if (err == ERR_EXISTS)
		return "another process listens there";
	if (err == ERR_CONFIG)
		return "this machine has no such address";
	return err_text(err);
}
