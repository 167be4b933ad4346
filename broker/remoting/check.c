/*
 * check.c -- a half message of ours as the RocketMQ message that it once was.
 *
 * The client chooses its producer by PGROUP and hands the message to the application's
 * listener, which must find in it what the producer put there.  The official benchmark
 * parses TRANSACTION_CHECK_TIMES, and rolls back when it is missing.
 */
#include "remoting/check.h"

#include "base/err.h"
#include "remoting/send.h"

#include <stdio.h>

#define NAME_MARK  0x01
#define VALUE_MARK 0x02
#define BLOCK_MAX  32767 /* an i16 holds its length */

static bool
has_mark(struct str s)
{
	return s.n > 0 && (memchr(s.p, NAME_MARK, s.n) || memchr(s.p, VALUE_MARK, s.n));
}

/*
 * One property; left out where it cannot be one (a header of another edge), or where the block
 * would be longer than its length field can tell.
 */
static void
add(struct buf *block, struct str name, struct str value)
{
	if (name.n == 0 || has_mark(name) || has_mark(value) ||
	    block->len + name.n + value.n + 2 > BLOCK_MAX)
		return;
	buf_str(block, name);
	buf_u8(block, NAME_MARK);
	buf_str(block, value);
	buf_u8(block, VALUE_MARK);
}

static void
add_all(struct buf *block, struct headers headers)
{
	struct header h;

	for (size_t at = 0; headers_next(headers, &at, &h);)
		add(block, h.name, h.value);
}

static void
add_number(struct buf *block, struct str name, uint64_t v)
{
	char text[21];
	int n = snprintf(text, sizeof(text), "%llu", (unsigned long long)v);

	add(block, name, str_from(text, (size_t)n));
}

/* What a client cannot do without comes first: it is there however long the rest is. */
static void
build_block(struct buf *block, const struct check *check, const struct message *m,
	    const struct edge *edge, struct str topic)
{
	const struct half *h = check->half;
	char gid[GID_TEXT], db[GID_TEXT];

	gid_format(h->gid, gid);
	add(block, STR("TRAN_MSG"), STR("true"));
	add(block, STR("PGROUP"), h->group);
	if (h->key.n > 0)
		add(block, STR("UNIQ_KEY"), h->key);
	add(block, STR("__transactionId__"), str_from(gid, GID_TEXT - 1));
	add_number(block, STR("TRANSACTION_CHECK_TIMES"), check->number);
	if (h->has_db_id) {
		struct gid id = { 0, 0 };

		for (int i = 0; i < 8; i++) {
			id.hi = id.hi << 8 | h->db_id[i];
			id.lo = id.lo << 8 | h->db_id[8 + i];
		}
		gid_format(id, db);
		add(block, STR("ESCROW_DB"), str_from(db, GID_TEXT - 1));
	}
	if (edge->flags & EDGE_WAIT_TRUE)
		add(block, STR("WAIT"), STR("true"));
	if ((edge->flags & EDGE_SHARDING_KEY) || (h->kind != EDGE_ROCKETMQ && m->key.p))
		add(block, STR("__SHARDINGKEY"), m->key);
	if (edge->flags & EDGE_IMMUNITY)
		add_number(block, STR("CHECK_IMMUNITY_TIME_IN_SECONDS"), h->immunity_ms / 1000);
	add_all(block, m->headers);
	add_all(block, edge->properties);
	add(block, STR("REAL_TOPIC"), topic);
	add_number(block, STR("REAL_QID"), edge->queue_id);
}

static int32_t
sys_flag_of(enum codec codec, const struct edge *edge)
{
	int32_t flag = edge->flags & EDGE_MULTI_TAGS ? 0x2 : 0;

	switch (codec) {
	case CODEC_NONE:
		return flag;
	case CODEC_ZLIB: /* type bits 0: also understood by clients that know no types */
		return flag | WIRE_SYS_COMPRESSED;
	case CODEC_LZ4:
		return flag | WIRE_SYS_COMPRESSED | 0x100;
	case CODEC_ZSTD:
		return flag | WIRE_SYS_COMPRESSED | 0x200;
	}
	return flag;
}

static void
put_addr(const struct net_addr *a, uint8_t ip[16], uint8_t *ret_len, int32_t *ret_port)
{
	memcpy(ip, a->ip, 16);
	*ret_len = a->len;
	*ret_port = a->port;
}

static void
build_message(struct conn *c, const struct check *check, const struct message *m,
	      const struct edge *edge, struct str topic, struct wire_message *ret)
{
	const struct half *h = check->half;
	struct net_addr born = c->addr;

	(void)net_addr_parse(h->from.p, h->from.n, &born); /* else: who is asked stands for it */
	memset(ret, 0, sizeof(*ret));
	ret->queue_id = (int32_t)edge->queue_id;
	ret->flag = edge->flag;
	ret->queue_offset = (int64_t)check->token;
	ret->physical_offset = (int64_t)h->gid.lo;
	ret->sys_flag = sys_flag_of(m->codec, edge);
	ret->born_timestamp = (int64_t)h->born_ms;
	ret->store_timestamp = (int64_t)h->arrived_ms;
	put_addr(&born, ret->born_ip, &ret->born_ip_len, &ret->born_port);
	put_addr(&c->local, ret->store_ip, &ret->store_ip_len, &ret->store_port);
	ret->body = wire_of(m->value);
	ret->topic = wire_of(topic);
	ret->properties = wire_of(buf_as_str(&c->r->block));
}

static int
write_frame(struct conn *c, const struct check *check, struct str topic, struct str body)
{
	const struct half *h = check->half;
	struct remoting *r = c->r;
	struct wire_command *command = &r->reply;
	char gid[GID_TEXT], id[WIRE_MSG_ID_TEXT], seq[21], token[21];

	gid_format(h->gid, gid);
	wire_msg_id_format(c->local.ip, c->local.len, c->local.port, (int64_t)h->gid.lo, id);
	(void)snprintf(seq, sizeof(seq), "%llu", (unsigned long long)h->gid.lo);
	(void)snprintf(token, sizeof(token), "%llu", (unsigned long long)check->token);
	wire_command_init(command, c->binary ? WIRE_BINARY : WIRE_JSON, WIRE_CHECK_TRANSACTION);
	command->language = 0;
	command->version = 479;
	command->opaque = c->next_opaque;
	c->next_opaque = c->next_opaque == INT32_MAX ? 1 : c->next_opaque + 1;
	command->flag = WIRE_ONEWAY;
	wire_add(command, WIRE_STR("topic"), wire_of(topic));
	wire_add(command, WIRE_STR("tranStateTableOffset"), wire_of(str_of(token)));
	wire_add(command, WIRE_STR("commitLogOffset"), wire_of(str_of(seq)));
	wire_add(command, WIRE_STR("msgId"), wire_of(h->key.n > 0 ? h->key : str_of(id)));
	wire_add(command, WIRE_STR("transactionId"), wire_of(str_of(gid)));
	wire_add(command, WIRE_STR("offsetMsgId"), wire_of(str_of(id)));
	wire_add(command, WIRE_STR("bname"), wire_of(str_of(r->conf.broker_name)));
	command->body = wire_of(body);
	return conn_write_command(c, command);
}

/* One message of the half behind those that are in r->plain. */
static int
add_message(struct conn *c, const struct check *check, const struct message *m,
	    const struct edge *edge, struct str topic)
{
	struct remoting *r = c->r;
	struct wire_message message;
	size_t n;

	buf_reset(&r->block, 64u << 10);
	build_block(&r->block, check, m, edge, topic);
	build_message(c, check, m, edge, topic, &message);
	n = wire_message_size(&message);
	if (wire_message_encode(&message, buf_reserve(&r->plain, n), n) < 0)
		return ERR_TOOBIG;
	r->plain.len += n;
	return 0;
}

int
check_write(struct conn *c, const struct check *check)
{
	const struct half *h = check->half;
	struct remoting *r = c->r;
	struct edge edge = { .flags = 0 };
	struct str topic = h->messages[0].topic;
	int err;

	/* A check is as large as the message: of those that nobody takes there may be thousands. */
	if (c->closing || conn_backlog(c) > LIMIT_OUT_STOP ||
	    r->stats.buffered_out > r->conf.receive_bytes)
		return ERR_FULL;
	/* One made by another edge is asked about as well as its messages can be told. */
	if (h->kind == EDGE_ROCKETMQ) {
		err = edge_decode(h->edge, &edge);
		if (err < 0)
			return err;
		if (edge.topic.n > 0)
			topic = edge.topic;
	}
	/* RocketMQ's clients read the first and choose their listener by it. */
	buf_reset(&r->plain, 1u << 20);
	for (uint32_t i = 0; i < h->count; i++) {
		err = add_message(c, check, &h->messages[i], &edge,
				  i == 0 ? topic : h->messages[i].topic);
		if (err < 0)
			return err;
	}
	err = write_frame(c, check, topic, buf_as_str(&r->plain));
	if (err < 0)
		return err;
	conn_mark(c, h->gid.lo);
	return 0;
}
