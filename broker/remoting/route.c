/*
 * route.c -- topics' names, and the one broker that every route names.
 */
#include "remoting/route.h"

#include "base/err.h"
#include "remoting/serve.h"

#include <stdlib.h>

/* Kafka's own limit on names; the core has RocketMQ's shorter one. */
#define KAFKA_TOPIC_MAX 249

/*
 * Kafka lets nobody append to its own topics, for good: what is committed to one would be owed for
 * ever, and each attempt costs the producer that all others share.
 */
static bool
is_kafkas_own(struct str name)
{
	return str_eq(name, STR("__consumer_offsets")) ||
	       str_eq(name, STR("__transaction_state")) ||
	       str_eq(name, STR("__share_group_state")) || str_eq(name, STR("__cluster_metadata"));
}

static bool
kafka_allows(struct str name)
{
	if (is_kafkas_own(name))
		return false;
	if (name.n == 0 || name.n > KAFKA_TOPIC_MAX || str_eq(name, STR(".")) ||
	    str_eq(name, STR("..")))
		return false;
	for (size_t i = 0; i < name.n; i++) {
		char ch = name.p[i];

		if (!((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
		      (ch >= '0' && ch <= '9') || ch == '.' || ch == '_' || ch == '-'))
			return false;
	}
	return true;
}

static int
by_name(const void *a, const void *b)
{
	const struct topic_mapping *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static char *
copy_text(const char *text)
{
	return mem_dup(text, strlen(text) + 1);
}

int
route_init(struct remoting *r)
{
	size_t count = r->conf.map_count;

	r->map = mem_alloc((count + 1) * sizeof(*r->map));
	for (size_t i = 0; i < count; i++) {
		const struct topic_mapping *m = &r->conf.map[i];

		if (!kafka_allows(str_of(m->kafka)) || m->name[0] == '\0') {
			r->conf.map_count = i;
			return ERR_CONFIG;
		}
		r->map[i].name = copy_text(m->name);
		r->map[i].kafka = copy_text(m->kafka);
	}
	qsort(r->map, count, sizeof(*r->map), by_name);
	r->conf.map = r->map;
	return 0;
}

static const char *
mapped(const struct remoting *r, struct str name)
{
	size_t low = 0, high = r->conf.map_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		struct str at = str_of(r->map[mid].name);
		int order = memcmp(name.p, at.p, min_u64(name.n, at.n));

		if (order == 0 && name.n == at.n)
			return r->map[mid].kafka;
		if (order < 0 || (order == 0 && name.n < at.n))
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

int
route_topic(const struct remoting *r, struct str name, struct str *ret_kafka, const char **ret_why)
{
	const char *kafka;

	if (name.n == 0 || name.n > LIMIT_TOPIC_BYTES) {
		*ret_why = "refused: a topic has 1 to 127 bytes";
		return ERR_MALFORMED;
	}
	kafka = mapped(r, name);
	if (!kafka && !kafka_allows(name)) {
		*ret_why =
			"refused: Kafka forbids this topic's name; topic.map can give it another";
		return ERR_MALFORMED;
	}
	*ret_kafka = kafka ? str_of(kafka) : name;
	return 0;
}

void
route_request(struct conn *c, const struct wire_command *command)
{
	struct reply_to to = serve_reply_to(c, command, SERVE_ROUTE);
	const struct wire_field *topic = wire_field(command, "topic");
	struct str kafka;
	const char *why;

	if (to.peer == 0)
		return;
	if (!topic || topic->value.n == 0) {
		serve_refuse(c, to, WIRE_MESSAGE_ILLEGAL, "refused: the topic is missing");
		return;
	}
	if (str_eq(str_wire(topic->value), ROUTE_AUTO_CREATE)) {
		struct answer answer = { .code = ANSWER_OK,
					 .partitions = ROUTE_AUTO_CREATE_QUEUES };

		serve_answer(c, to.tag, &answer);
		return;
	}
	if (route_topic(c->r, str_wire(topic->value), &kafka, &why) < 0) {
		serve_refuse(c, to, WIRE_MESSAGE_ILLEGAL, why);
		return;
	}
	core_route(c->r->core, to, kafka);
}

struct str
route_json(struct conn *c, int32_t queues)
{
	struct remoting *r = c->r;
	char address[NET_ADDR_TEXT];
	struct net_addr here = c->local;

	/* Also for a client that came in at the VIP port: transactions end at the other one. */
	here.port = r->addr.port;
	net_addr_format(&here, address);
	buf_reset(&r->text, 4096);
	buf_printf(&r->text,
		   "{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"%s\"},\"brokerName\":\"%s\","
		   "\"cluster\":\"%s\",\"enableActingMaster\":false}],\"filterServerTable\":{},"
		   "\"queueDatas\":[{\"brokerName\":\"%s\",\"perm\":6,\"readQueueNums\":%d,"
		   "\"topicSysFlag\":0,\"writeQueueNums\":%d}]}",
		   r->conf.advertise ? r->conf.advertise : address, r->conf.broker_name,
		   r->conf.cluster_name, r->conf.broker_name, (int)queues, (int)queues);
	return buf_as_str(&r->text);
}
