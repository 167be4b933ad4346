/*
 * halfsend.c -- one half message, told in plain words: the protocol by hand.
 *
 *      half-send -> (the local transaction would run here) -> commit, rollback or silence
 *
 * and, when asked to, an answer to the check that follows silence.  Uses client/wire and one
 * blocking socket; reads top to bottom.  For real work there are libescrow and RocketMQ's clients.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "wire/wire.h"

#define ANSWER_MS 10000
#define IN_ROOM   (5u << 20) /* a check carries the whole message */

struct options {
	const char *address;
	const char *topic;
	const char *group;
	const char *key;
	const char *body;
	const char *then;
	const char *answer; /* to checks */
	const char *immunity;
	int wait_s;
};

struct client {
	int fd;
	int32_t opaque;
	uint8_t *in;
	size_t in_n;    /* bytes there */
	size_t in_used; /* of them, the frame looked at last */
	uint8_t *check; /* one that came while an answer was awaited */
	size_t check_n;
};

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "halfsend: %s: %s\n", what, why);
	exit(1);
}

static int64_t
now_ms(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

static struct wire_str
str(const char *text)
{
	return (struct wire_str){ text, strlen(text) };
}

/* ---- the connection ---------------------------------------------------------------------- */

static void
connect_to(struct client *c, const char *address)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	char ip[64] = "";
	const char *colon = strrchr(address, ':');

	if (colon == NULL || (size_t)(colon - address) >= sizeof(ip))
		die(address, "not IP:PORT");
	memcpy(ip, address, (size_t)(colon - address));
	to.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, ip, &to.sin_addr) != 1)
		die(address, "not IP:PORT");
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die(address, strerror(errno));
	c->in = malloc(IN_ROOM);
	if (c->in == NULL)
		die("memory", strerror(errno));
}

static void
send_command(struct client *c, struct wire_command *cmd)
{
	size_t n = 0;
	uint8_t *buf;

	cmd->opaque = ++c->opaque;
	wire_encode(cmd, NULL, 0, &n);
	buf = malloc(n);
	if (buf == NULL || wire_encode(cmd, buf, n, &n) < 0)
		die("the request", "cannot be encoded");
	for (size_t at = 0; at < n;) {
		ssize_t sent = send(c->fd, buf + at, n - at, MSG_NOSIGNAL);

		if (sent < 0)
			die("sending", strerror(errno));
		at += (size_t)sent;
	}
	free(buf);
}

/* The next frame, or false when none came until UNTIL_MS.  Lives until the next call. */
static bool
receive(struct client *c, int64_t until_ms, struct wire_command *ret_command)
{
	memmove(c->in, c->in + c->in_used, c->in_n - c->in_used);
	c->in_n -= c->in_used;
	c->in_used = 0;
	for (;;) {
		size_t total = 0;
		int err = wire_frame_size(c->in, c->in_n, IN_ROOM, &total);

		if (err == 0 && total <= c->in_n) {
			err = wire_decode(c->in, total, ret_command);
			c->in_used = total;
		}
		if (err < 0 && err != WIRE_E_MORE)
			die("receiving", "what came is no frame of this protocol");
		if (c->in_used > 0)
			return true;

		struct pollfd p = { .fd = c->fd, .events = POLLIN };
		int64_t left = until_ms - now_ms(CLOCK_MONOTONIC);

		if (left <= 0 || poll(&p, 1, (int)left) == 0)
			return false;

		ssize_t n = recv(c->fd, c->in + c->in_n, IN_ROOM - c->in_n, 0);

		if (n <= 0)
			die("the connection", n < 0 ? strerror(errno) : "closed by Escrow");
		c->in_n += (size_t)n;
	}
}

static bool
is_check(const struct wire_command *cmd)
{
	return cmd->code == WIRE_CHECK_TRANSACTION && !(cmd->flag & WIRE_RESPONSE);
}

/* Sends and waits for the answer; a check that comes meanwhile is kept for later. */
static void
call(struct client *c, struct wire_command *cmd, struct wire_command *ret_answer)
{
	int64_t until = now_ms(CLOCK_MONOTONIC) + ANSWER_MS;

	send_command(c, cmd);
	for (;;) {
		if (!receive(c, until, ret_answer))
			die("Escrow", "no answer within 10 s");
		if (ret_answer->flag & WIRE_RESPONSE && ret_answer->opaque == cmd->opaque)
			return;
		if (is_check(ret_answer) && c->check == NULL) {
			c->check = malloc(c->in_used);
			if (c->check == NULL)
				die("memory", strerror(errno));
			memcpy(c->check, c->in, c->in_used);
			c->check_n = c->in_used;
		}
	}
}

static void
refused(const char *what, const struct wire_command *answer)
{
	fprintf(stderr, "halfsend: %s was refused with code %d: %.*s\n", what, answer->code,
		(int)answer->remark.n, answer->remark.n ? answer->remark.p : "");
	exit(1);
}

/* ---- what a producer says ---------------------------------------------------------------- */

static void
say_hello(struct client *c, const struct options *o)
{
	static struct wire_heartbeat h;
	struct wire_command cmd, answer;
	char id[64], body[1024];
	size_t n = 0;

	snprintf(id, sizeof(id), "127.0.0.1@%d#halfsend", (int)getpid());
	h.client_id = str(id);
	h.group_count = 1;
	h.groups[0] = str(o->group);
	if (wire_heartbeat_encode(&h, body, sizeof(body), &n) < 0)
		die("--group", "too long");
	wire_command_init(&cmd, WIRE_BINARY, WIRE_HEARTBEAT);
	cmd.body = (struct wire_str){ body, n };
	call(c, &cmd, &answer);
	if (answer.code != WIRE_SUCCESS)
		refused("the heartbeat", &answer);
	printf("Connected to %s as a producer of group %s.\n", o->address, o->group);
}

/* Fills what END needs to know. */
static void
half_send(struct client *c, const struct options *o, struct wire_end *ret_end, char ret_gid[33])
{
	struct wire_command cmd, answer;
	char text[WIRE_SEND_TEXT], properties[2048], unique[33];
	uint64_t random[2];
	const struct wire_field *id, *gid;
	int n;

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		die("random bytes", strerror(errno));
	snprintf(unique, sizeof(unique), "%016llX%016llX", (unsigned long long)random[0],
		 (unsigned long long)random[1]);
	n = snprintf(properties, sizeof(properties),
		     "UNIQ_KEY\001%s\002TRAN_MSG\001true\002PGROUP\001%s\002WAIT\001true\002",
		     unique, o->group);
	if (o->key != NULL)
		n += snprintf(properties + n, sizeof(properties) - (size_t)n, "KEYS\001%s\002",
			      o->key);
	if (o->immunity != NULL && n < (int)sizeof(properties))
		n += snprintf(properties + n, sizeof(properties) - (size_t)n,
			      "CHECK_IMMUNITY_TIME_IN_SECONDS\001%s\002", o->immunity);
	if (n >= (int)sizeof(properties))
		die("--key or --group", "too long");

	struct wire_send s = {
		.producer_group = str(o->group),
		.topic = str(o->topic),
		.default_topic = WIRE_STR("TBW102"),
		.default_topic_queue_nums = 4,
		.sys_flag = WIRE_SYS_PREPARED,
		.born_timestamp = now_ms(CLOCK_REALTIME),
		.properties = { properties, (size_t)n },
	};

	wire_command_init(&cmd, WIRE_BINARY, WIRE_SEND_V2);
	wire_send_fields(&s, &cmd, text);
	cmd.body = str(o->body);
	call(c, &cmd, &answer);
	if (answer.code != WIRE_SUCCESS)
		refused("the half-send", &answer);
	id = wire_field(&answer, "msgId");
	gid = wire_field(&answer, "transactionId");
	if (id == NULL || gid == NULL || gid->value.n != 32 ||
	    wire_msg_id_parse(id->value, &ret_end->log_offset) < 0 ||
	    !wire_field_i64(&answer, "queueOffset", &ret_end->state_offset))
		die("the answer", "lacks its tokens");
	memcpy(ret_gid, gid->value.p, 32);
	ret_gid[32] = '\0';
	printf("Half-sent %zu bytes for topic %s: transaction %s.\n"
	       "  It is durable in Escrow's journal, and no consumer of Kafka can see it.\n",
	       strlen(o->body), o->topic, ret_gid);
}

static void
end(struct client *c, const struct wire_end *e, const char *gid)
{
	struct wire_command cmd, answer;
	char text[WIRE_END_TEXT];

	wire_command_init(&cmd, WIRE_BINARY, WIRE_END_TRANSACTION);
	wire_end_fields(e, &cmd, text);
	call(c, &cmd, &answer);
	if (answer.code != WIRE_SUCCESS)
		refused(e->decision == WIRE_COMMIT ? "the commit" : "the rollback", &answer);
	if (e->decision == WIRE_COMMIT)
		printf("Said commit for %s: that is durable now, and the message is on its way to "
		       "Kafka.\n",
		       gid);
	else
		printf("Said rollback for %s: that is durable now, and Kafka will never see the "
		       "message.\n",
		       gid);
}

/* Waits for one check, and answers it. */
static void
answer_check(struct client *c, const struct options *o)
{
	int64_t until = now_ms(CLOCK_MONOTONIC) + o->wait_s * INT64_C(1000);
	struct wire_command cmd;
	struct wire_message m;
	struct wire_str group, gid = { NULL, 0 }, number = WIRE_STR("?");
	struct wire_end e = { .from_check = true };
	char text[33] = "", group_text[256] = "";

	printf("Waiting up to %d s for Escrow to ask.\n", o->wait_s);
	fflush(stdout);
	if (c->check != NULL) {
		if (wire_decode(c->check, c->check_n, &cmd) < 0)
			die("the check", "cannot be read");
	} else {
		do {
			if (!receive(c, until, &cmd))
				die("Escrow", "did not ask in that time");
		} while (!is_check(&cmd));
	}

	if (wire_message_decode(cmd.body.p, cmd.body.n, &m) < 0 ||
	    !wire_property_find(m.properties, "PGROUP", &group) || group.n >= sizeof(group_text) ||
	    !wire_property_find(m.properties, "__transactionId__", &gid) || gid.n != 32 ||
	    !wire_field_i64(&cmd, "tranStateTableOffset", &e.state_offset) ||
	    !wire_field_i64(&cmd, "commitLogOffset", &e.log_offset))
		die("the check", "cannot be read");
	(void)wire_property_find(m.properties, "TRANSACTION_CHECK_TIMES",
				 &number); /* only for show */
	printf("Escrow asks (check %.*s): what came of transaction %.*s, topic %.*s, \"%.*s\"?\n",
	       (int)number.n, number.p, (int)gid.n, gid.p, (int)m.topic.n, m.topic.p,
	       (int)(m.body.n < 80 ? m.body.n : 80), m.body.p);
	/* The frame is overwritten by the next one: what END says is kept. */
	memcpy(text, gid.p, 32);
	memcpy(group_text, group.p, group.n);
	e.producer_group = str(group_text);
	e.transaction_id = str(text);
	e.decision = strcmp(o->answer, "commit") == 0 ? WIRE_COMMIT : WIRE_ROLLBACK;
	end(c, &e, text);
}

static const char usage[] =
	"halfsend: half-send one message to Escrow and say what is to come of it\n"
	"  --address IP:PORT                 of the daemon               127.0.0.1:9876\n"
	"  --topic NAME --body TEXT          the message; without them only checks are answered\n"
	"  --key TEXT                        its key in Kafka\n"
	"  --group NAME                      producer group              quickstart\n"
	"  --then commit|rollback|silent     after the half-send         commit\n"
	"  --answer-checks commit|rollback   then wait for a check and answer it\n"
	"  --wait S                          so long                     60\n"
	"  --immunity S                      no check before             the daemon's "
	"check.immunity\n";

static bool
parse(int argc, char **argv, struct options *o)
{
	static const struct option names[] = {
		{ "address", 1, NULL, 'a' },
		{ "topic", 1, NULL, 't' },
		{ "group", 1, NULL, 'g' },
		{ "key", 1, NULL, 'k' },
		{ "body", 1, NULL, 'b' },
		{ "then", 1, NULL, 'e' },
		{ "wait", 1, NULL, 'w' },
		{ "immunity", 1, NULL, 'i' },
		{ "answer-checks", 1, NULL, 'c' },
		{ "help", 0, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int id;

	while ((id = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (id) {
		case 'a':
			o->address = optarg;
			break;
		case 't':
			o->topic = optarg;
			break;
		case 'g':
			o->group = optarg;
			break;
		case 'k':
			o->key = optarg;
			break;
		case 'b':
			o->body = optarg;
			break;
		case 'e':
			o->then = optarg;
			break;
		case 'w':
			o->wait_s = atoi(optarg);
			break;
		case 'i':
			o->immunity = optarg;
			break;
		case 'c':
			o->answer = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			return false;
		}
	}
	if (optind != argc || (o->topic == NULL) != (o->body == NULL) ||
	    (o->body == NULL && o->answer == NULL))
		return false;
	if (o->answer != NULL && strcmp(o->answer, "commit") != 0 &&
	    strcmp(o->answer, "rollback") != 0)
		return false;
	return strcmp(o->then, "commit") == 0 || strcmp(o->then, "rollback") == 0 ||
	       strcmp(o->then, "silent") == 0;
}

int
main(int argc, char **argv)
{
	struct options o = {
		.address = "127.0.0.1:9876", .group = "quickstart", .then = "commit", .wait_s = 60
	};
	struct client c = { 0 };
	struct wire_end e = { 0 };
	char gid[33] = "";

	if (!parse(argc, argv, &o)) {
		fputs(usage, stderr);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	connect_to(&c, o.address);
	say_hello(&c, &o);
	if (o.body != NULL) {
		half_send(&c, &o, &e, gid);
		e.producer_group = str(o.group);
		e.transaction_id = str(gid);
		e.decision = strcmp(o.then, "commit") == 0 ? WIRE_COMMIT : WIRE_ROLLBACK;
		/* Here, and not earlier, a service would run its local transaction. */
		if (strcmp(o.then, "silent") == 0)
			printf("Says nothing, as a producer that died: Escrow will have to ask.\n");
		else
			end(&c, &e, gid);
	}
	if (o.answer != NULL)
		answer_check(&c, &o);
	close(c.fd);
	free(c.check);
	free(c.in);
	return 0;
}
