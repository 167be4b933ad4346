/*
 * peer.c -- see peer.h: bytes out, frames in.
 */
#include "sim/peer.h"

#include <inttypes.h>

#include "base/buf.h"

#define RX_BYTES 65536
#define ROOM     16384 /* of a frame, beside its body */

struct peer {
	struct net_sim_client *conn;
	uint32_t id;
	bool binary;
	bool held; /* `last` owns scratch memory */
	struct wire_command last;
	size_t taken; /* bytes of rx that `last` borrows */
	size_t rx_len;
	char rx[RX_BYTES];
};

struct peer *
peer_connect(struct net_sim *net, const char *address, uint32_t id, bool binary)
{
	struct net_sim_client *conn = net_sim_connect(net, address);
	struct peer *p;

	if (!conn)
		return NULL;
	p = mem_alloc(sizeof(*p));
	p->conn = conn;
	p->id = id;
	p->binary = binary;
	return p;
}

static void
release(struct peer *p)
{
	if (p->held)
		wire_command_done(&p->last);
	p->held = false;
	p->rx_len -= p->taken;
	memmove(p->rx, p->rx + p->taken, p->rx_len);
	p->taken = 0;
}

struct peer *
peer_close(struct peer *p, bool hard)
{
	if (!p)
		return NULL;
	release(p);
	net_sim_close(p->conn, hard);
	mem_free(p);
	return NULL;
}

static struct wire_str
wstr(const char *text)
{
	return (struct wire_str){ text, text ? strlen(text) : 0 };
}

static bool
send(struct peer *p, struct wire_command *c)
{
	size_t room = c->body.n + ROOM, n = 0;
	char *frame = mem_alloc(room);
	bool sent;

	c->version = 475;
	CHECK(wire_encode(c, frame, room, &n) == 0, n);
	sent = net_sim_send(p->conn, frame, n);
	mem_free(frame);
	return sent;
}

static enum wire_type
type_of(const struct peer *p)
{
	return p->binary ? WIRE_BINARY : WIRE_JSON;
}

bool
peer_heartbeat(struct peer *p, const char *group, int32_t opaque)
{
	struct wire_command c;
	char body[320];

	wire_command_init(&c, type_of(p), WIRE_HEARTBEAT);
	snprintf(body, sizeof(body),
		 "{\"clientID\":\"10.0.0.%" PRIu32
		 "@1\",\"consumerDataSet\":[],\"producerDataSet\":[{\"groupName\":\"%s\"}]}",
		 p->id, group);
	c.opaque = opaque;
	c.body = wstr(body);
	return send(p, &c);
}

static void
property(struct buf *out, const char *name, const char *value)
{
	if (value)
		buf_printf(out, "%s\001%s\002", name, value);
}

bool
peer_half_send(struct peer *p, const struct peer_message *m, int32_t opaque)
{
	struct wire_send s = { .default_topic_queue_nums = 4 };
	struct wire_command c;
	struct buf block = BUF_INIT;
	char text[WIRE_SEND_TEXT];
	bool sent;

	property(&block, "UNIQ_KEY", m->unique);
	property(&block, "KEYS", m->key);
	if (!m->plain) {
		property(&block, "TRAN_MSG", "true");
		property(&block, "PGROUP", m->group);
	}
	if (m->property)
		property(&block, m->property, m->value);
	s.producer_group = wstr(m->group);
	s.topic = wstr(m->topic);
	s.default_topic = wstr("TBW102");
	s.sys_flag = m->plain ? 0 : WIRE_SYS_PREPARED;
	s.properties = (struct wire_str){ block.data, block.len };
	wire_command_init(&c, type_of(p), p->binary ? WIRE_SEND_V2 : WIRE_SEND);
	c.opaque = opaque;
	c.body = m->body_bytes ? (struct wire_str){ m->body, m->body_bytes } : wstr(m->body);
	wire_send_fields(&s, &c, text);
	sent = send(p, &c);
	buf_free(&block);
	return sent;
}

bool
peer_end(struct peer *p, const char *group, const struct peer_tokens *t,
	 enum wire_decision decision, bool from_check, int32_t opaque)
{
	struct wire_end e = {
		.producer_group = wstr(group),
		.state_offset = t->token,
		.log_offset = t->seq,
		.decision = decision,
		.from_check = from_check,
		.transaction_id = wstr(t->gid),
	};
	struct wire_command c;
	char text[WIRE_END_TEXT];

	wire_command_init(&c, type_of(p), WIRE_END_TRANSACTION);
	c.opaque = opaque;
	c.flag = from_check ? WIRE_ONEWAY : 0;
	wire_end_fields(&e, &c, text);
	return send(p, &c);
}

bool
peer_next(struct peer *p, struct wire_command *ret_command, bool *ret_closed)
{
	size_t total = 0;

	release(p);
	p->rx_len +=
		net_sim_recv(p->conn, p->rx + p->rx_len, sizeof(p->rx) - p->rx_len, ret_closed);
	if (p->rx_len < 8 || wire_frame_size(p->rx, p->rx_len, sizeof(p->rx), &total) != 0 ||
	    total > p->rx_len)
		return false;
	CHECK(wire_decode(p->rx, total, &p->last) == 0, total);
	p->held = true;
	p->taken = total;
	*ret_command = p->last;
	return true;
}

bool
peer_tokens(const struct wire_command *c, struct peer_tokens *ret_tokens)
{
	const struct wire_field *id = wire_field(c, "transactionId");
	const struct wire_field *msg_id = wire_field(c, "msgId");
	struct peer_tokens t;
	struct wire_message m;
	struct wire_str gid;

	if (c->flag & WIRE_RESPONSE) {
		if (!id || !msg_id || wire_msg_id_parse(msg_id->value, &t.seq) != 0 ||
		    !wire_field_i64(c, "queueOffset", &t.token))
			return false;
		gid = id->value;
	} else if (wire_message_decode(c->body.p, c->body.n, &m) != 0 ||
		   !wire_property_find(m.properties, "__transactionId__", &gid) ||
		   !wire_field_i64(c, "commitLogOffset", &t.seq) ||
		   !wire_field_i64(c, "tranStateTableOffset", &t.token)) {
		return false;
	}
	if (gid.n != sizeof(t.gid) - 1)
		return false;
	memcpy(t.gid, gid.p, gid.n);
	t.gid[gid.n] = '\0';
	*ret_tokens = t;
	return true;
}

bool
peer_check_unique(const struct wire_command *c, struct wire_str *ret_unique)
{
	struct wire_message m;

	return wire_message_decode(c->body.p, c->body.n, &m) == 0 &&
	       wire_property_find(m.properties, "UNIQ_KEY", ret_unique);
}
