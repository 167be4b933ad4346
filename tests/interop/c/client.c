/*
 * client.c -- what a C producer commits, on client/wire: bodies of 0 bytes, 1 KiB and 1 MiB - 64
 * KiB.
 *
 * Speaks as the Java and Go programs of this folder do: JSON lines of what a topic of Kafka must
 * then hold.  Usage: client IP:PORT GROUP.  Stays until its standard input ends.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "wire/wire.h"

#define BODY_MAX (1u << 20)
#define ROOM     (BODY_MAX + 65536)

static int fd;
static int32_t opaque;
static const char *group;
static char frame[ROOM], body[BODY_MAX];
static struct wire_command answer;

static _Noreturn void
die(const char *what)
{
	perror(what);
	exit(1);
}

static struct wire_str
text(const char *s)
{
	return (struct wire_str){ s, strlen(s) };
}

static void
dial(const char *address)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	const char *colon = strrchr(address, ':');
	char ip[64] = "";

	if (!colon || (size_t)(colon - address) >= sizeof(ip))
		die("address");
	memcpy(ip, address, (size_t)(colon - address));
	in.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	if (inet_pton(AF_INET, ip, &in.sin_addr) != 1)
		die("address");
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&in, sizeof(in)))
		die("connect");
}

static void
read_all(char *p, size_t n)
{
	while (n > 0) {
		ssize_t got = read(fd, p, n);

		if (got <= 0)
			die("read");
		p += got;
		n -= (size_t)got;
	}
}

/* Sends C and waits for its answer; checks that come meanwhile are left to come again. */
static int32_t
call(struct wire_command *c)
{
	size_t n = 0, total = 0;

	c->type = WIRE_BINARY;
	c->opaque = ++opaque;
	if (wire_encode(c, frame, sizeof(frame), &n) || write(fd, frame, n) != (ssize_t)n)
		die("write");
	for (;;) {
		read_all(frame, 8);
		if (wire_frame_size(frame, 8, sizeof(frame), &total))
			die("frame");
		read_all(frame + 8, total - 8);
		wire_command_done(&answer);
		if (wire_decode(frame, total, &answer))
			die("decode");
		if ((answer.flag & WIRE_RESPONSE) && answer.opaque == opaque)
			return answer.code;
	}
}

static void
print_base64(const char *p, size_t n)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)(uint8_t)p[i] << 16;

		v |= i + 1 < n ? (uint32_t)(uint8_t)p[i + 1] << 8 : 0;
		v |= i + 2 < n ? (uint32_t)(uint8_t)p[i + 2] : 0;
		printf("%c%c%c%c", digits[v >> 18], digits[v >> 12 & 63],
		       i + 1 < n ? digits[v >> 6 & 63] : '=', i + 2 < n ? digits[v & 63] : '=');
	}
}

/* Half-sends SIZE bytes and decides; false: the broker refused one of the two. */
static void
scenario(const char *name, uint32_t size, const char *decision)
{
	struct wire_command c;
	struct wire_send s = { .producer_group = text(group),
			       .topic = text("orders"),
			       .default_topic = text("TBW102"),
			       .default_topic_queue_nums = 4,
			       .sys_flag = WIRE_SYS_PREPARED };
	char properties[512], number[WIRE_SEND_TEXT], gid[64], sequence[32], token[32];
	const struct wire_field *id, *msg, *offset;
	int64_t seq;

	for (uint32_t i = 0; i < size; i++)
		body[i] = (char)(i * 2654435761u >> 24);
	snprintf(properties, sizeof(properties),
		 "TRAN_MSG\001true\002PGROUP\001%s\002UNIQ_KEY\001c-%s\002scenario\001%s\002",
		 group, name, name);
	s.properties = text(properties);
	wire_command_init(&c, WIRE_BINARY, WIRE_SEND_V2);
	wire_send_fields(&s, &c, number);
	c.body = (struct wire_str){ body, size };
	if (call(&c) != WIRE_SUCCESS)
		goto failed;
	id = wire_field(&answer, "transactionId");
	msg = wire_field(&answer, "msgId");
	offset = wire_field(&answer, "queueOffset");
	if (!id || !msg || !offset || wire_msg_id_parse(msg->value, &seq))
		goto failed;
	snprintf(gid, sizeof(gid), "%.*s", (int)id->value.n, id->value.p);
	snprintf(token, sizeof(token), "%.*s", (int)offset->value.n, offset->value.p);
	snprintf(sequence, sizeof(sequence), "%lld", (long long)seq);
	wire_command_init(&c, WIRE_BINARY, WIRE_END_TRANSACTION);
	wire_add(&c, WIRE_STR("producerGroup"), text(group));
	wire_add(&c, WIRE_STR("commitLogOffset"), text(sequence));
	wire_add(&c, WIRE_STR("tranStateTableOffset"), text(token));
	wire_add(&c, WIRE_STR("commitOrRollback"), text(decision));
	if (call(&c) != WIRE_SUCCESS)
		goto failed;
	if (strcmp(decision, "8") == 0) {
		printf("{\"expect\":\"%s\",\"topic\":\"orders\",\"group\":\"%s\",\"uniq\":\"c-%s\","
		       "\"gid\":\"%s\","
		       "\"key\":null,\"partition\":-1,\"headers\":{\"scenario\":\"%s\"},\"body\":"
		       "\"",
		       name, group, name, gid, name);
		print_base64(body, size);
		printf("\"}\n");
	}
	printf("{\"done\":\"%s\"}\n", name);
	fflush(stdout);
	return;
failed:
	printf("{\"fail\":\"%s\",\"why\":\"the broker answered %d\"}\n{\"done\":\"%s\"}\n", name,
	       answer.code, name);
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	char c;

	if (argc < 3)
		return 2;
	group = argv[2];
	dial(argv[1]);
	scenario("c-empty", 0, "8");
	scenario("c-rollback", 100, "12");
	scenario("c-1KiB", 1024, "8");
	scenario("c-960KiB", 960 * 1024, "8");
	while (read(0, &c, 1) > 0)
		;
	return 0;
}
