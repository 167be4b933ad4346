/*
 * conn.c -- sockets' bytes to frames, answers to sockets' bytes.
 *
 * Everything here is about memory and patience: who may hold how much, for how long.
 */
#include "remoting/conn.h"

#include "base/bytes.h"
#include "base/err.h"
#include "base/log.h"
#include "remoting/serve.h"

#define PREFIX         8 /* total, type and header length */
#define PEER_SLOT_BITS 20

_Static_assert(LIMIT_CONNECTIONS == 1u << PEER_SLOT_BITS, "a peer id holds its slot");

/* ---- accounts and lists -------------------------------------------------------------------- */

static void
account(struct conn *c)
{
	size_t held = c->in.cap + c->out.cap;

	c->r->stats.buffered += held - c->counted;
	c->r->stats.buffered_out += c->out.cap - c->counted_out;
	c->counted = held;
	c->counted_out = c->out.cap;
}

uint64_t
conn_received(const struct remoting *r)
{
	return r->stats.buffered - r->stats.buffered_out;
}

static void
list_move(struct list *head, struct list *node)
{
	list_del(node);
	list_add_tail(head, node);
}

/* V as the newest of a growing array of pointers or buffers. */
#define PUSH(array, count, cap, v)                                                                 \
	do {                                                                                       \
		if ((count) == (cap)) {                                                            \
			(cap) = (cap) ? (cap)*2 : 16;                                              \
			(array) = mem_grow((array), (cap) * sizeof(*(array)));                     \
		}                                                                                  \
		(array)[(count)++] = (v);                                                          \
	} while (0)

/* What holds borrowed bytes lives until the turn's requests are consumed. */
static void
spend_in(struct conn *c)
{
	struct remoting *r = c->r;

	if (c->in.data)
		PUSH(r->spent, r->spent_count, r->spent_cap, c->in);
	c->in = BUF_INIT;
	c->in_need = 0;
	account(c);
}

static void
keep_scratch(struct remoting *r)
{
	if (!r->request.scratch)
		return;
	PUSH(r->scratches, r->scratch_count, r->scratch_cap, r->request.scratch);
	r->request.scratch = NULL;
}

bool
conn_may_complain(struct conn *c)
{
	struct remoting *r = c->r;
	int64_t now_s = r->now_ns / NS_PER_S;

	if (c->complained)
		return false;
	c->complained = true;
	if (now_s != r->complaint_s) {
		if (r->hushed)
			log_warn("more faults of peers than are logged", "hushed=%llu",
				 (unsigned long long)r->hushed);
		r->complaint_s = now_s;
		r->complaints = 0;
		r->hushed = 0;
	}
	if (r->complaints < LIMIT_COMPLAINTS) {
		r->complaints++;
		return true;
	}
	r->hushed++;
	return false;
}

static void
complain(struct conn *c, const char *msg)
{
	if (conn_may_complain(c))
		log_warn(msg, "peer=%llu from=%s client=%s requests=%llu",
			 (unsigned long long)c->peer, c->from, log_q(buf_as_str(&c->client_id)),
			 (unsigned long long)c->requests);
}

/* ---- birth and death ----------------------------------------------------------------------- */

struct conn *
conn_of(const struct remoting *r, uint64_t peer)
{
	uint64_t slot = peer & (LIMIT_CONNECTIONS - 1);
	struct conn *c = slot < r->slot_count ? r->slots[slot] : NULL;

	return c && c->peer == peer ? c : NULL;
}

static uint32_t
take_slot(struct remoting *r)
{
	uint32_t more = r->slot_count ? r->slot_count : 64;

	if (r->free_count > 0)
		return r->free_slots[--r->free_count];
	r->slots = mem_grow(r->slots, (r->slot_count + more) * sizeof(*r->slots));
	r->free_slots = mem_grow(r->free_slots, (r->slot_count + more) * sizeof(*r->free_slots));
	for (uint32_t i = r->slot_count + more; i-- > r->slot_count;) {
		r->slots[i] = NULL;
		r->free_slots[r->free_count++] = i;
	}
	r->slot_count += more;
	return r->free_slots[--r->free_count];
}

/*
 * At the limit those make room who connected and never asked for anything: scanners, probes, and
 * whoever wants to keep the producers out.
 */
static bool
room_for_one(struct remoting *r)
{
	struct conn *c;

	if (r->stats.connections < r->conf.connections_max)
		return true;
	if (list_empty(&r->silent))
		return false;
	c = LIST_ENTRY(r->silent.next, struct conn, silent);
	if (r->now_ns - c->born_ns < LIMIT_SILENT_NS)
		return false;
	r->stats.crowded++;
	complain(c, "limits.connections is reached, closing who never asked for anything");
	conn_gone(c);
	return true;
}

struct conn *
conn_accept(struct remoting *r, struct net_conn *net)
{
	struct conn *c;
	uint32_t slot;

	if (r->draining || !room_for_one(r)) {
		r->net->ops->close(net);
		r->stats.refused++;
		return NULL;
	}
	c = mem_alloc(sizeof(*c));
	slot = take_slot(r);
	CHECK(r->slots[slot] == NULL, slot);
	r->slots[slot] = c;
	c->peer = ++r->accepted << PEER_SLOT_BITS | slot;
	c->r = r;
	c->net = net;
	c->reading = true;
	c->language = -1;
	c->next_opaque = 1;
	r->net->ops->set_data(net, c);
	r->net->ops->peer_addr(net, &c->addr);
	r->net->ops->local_addr(net, &c->local);
	net_addr_format(&c->addr, c->from);
	list_init(&c->begun);
	list_init(&c->stuck);
	list_init(&c->beats);
	list_init(&c->dirty);
	list_init(&c->hungry);
	c->born_ns = c->idle_ns = r->now_ns;
	list_add_tail(&r->silent, &c->silent);
	list_add_tail(&r->idle, &c->idle);
	r->stats.connections++;
	r->stats.accepted++;
	return c;
}

void
conn_gone(struct conn *c)
{
	struct remoting *r = c->r;
	uint32_t slot = (uint32_t)(c->peer & (LIMIT_CONNECTIONS - 1));

	if (c->gone)
		return;
	c->gone = true;
	r->slots[slot] = NULL;
	r->free_slots[r->free_count++] = slot;
	r->stats.connections--;
	r->net->ops->close(c->net);
	c->net = NULL;
	list_del(&c->silent);
	list_del(&c->idle);
	list_del(&c->begun);
	list_del(&c->stuck);
	list_del(&c->beats);
	list_del(&c->dirty);
	list_del(&c->hungry);
	buf_free(&c->out); /* nobody borrows from it */
	c->out_at = 0;
	spend_in(c);
	core_leave(r->core, c->peer, STR_NONE);
	PUSH(r->dead, r->dead_count, r->dead_cap, c);
}

/* Ends it once its answers are written. */
static void
finish(struct conn *c)
{
	c->closing = true;
	conn_interest(c);
	conn_touch(c);
}

void
conn_free(struct conn *c)
{
	buf_free(&c->in);
	buf_free(&c->out);
	account(c);
	for (uint32_t i = 0; i < c->group_count; i++)
		mem_free((void *)(uintptr_t)c->groups[i].name.p);
	mem_free(c->groups);
	mem_free(c->marks);
	buf_free(&c->client_id);
	mem_free(c);
}

/* ---- in ------------------------------------------------------------------------------------- */

void
conn_interest(struct conn *c)
{
	bool reading = !c->stopped && !c->starved && !c->closing;
	bool writing = conn_backlog(c) > 0;

	if (c->gone)
		return;
	if (reading != c->reading)
		c->r->net->ops->want_read(c->net, reading);
	if (writing != c->writing)
		c->r->net->ops->want_write(c->net, writing);
	c->reading = reading;
	c->writing = writing;
}

/* Who calls, when it is not a RocketMQ client: its first bytes say so. */
static bool
stranger(struct conn *c, const char *p, size_t n)
{
	if (p[0] == 0x16) {
		complain(c, "a client wants TLS, which is not served here, closing");
		return true;
	}
	if (n >= 4 && memcmp(p, "PRI ", 4) == 0) {
		c->r->stats.grpc++;
		complain(c, "a gRPC client of RocketMQ 5, closing: use the remoting client, "
			    "rocketmq-client");
		return true;
	}
	if (n >= 4 && (memcmp(p, "GET ", 4) == 0 || memcmp(p, "POST", 4) == 0)) {
		complain(c, "an HTTP client at the port of RocketMQ clients, closing: see "
			    "http.address");
		return true;
	}
	return false;
}

/* The frame of TOTAL bytes at P is too long: answered from its header, then skipped. */
static int
refuse_long(struct conn *c, const char *p, size_t n, size_t total)
{
	size_t header = be_get32(p + 4) & 0xffffff;
	struct remoting *r = c->r;
	char *copy;
	int err;

	if (n < PREFIX + header)
		return WIRE_E_MORE;
	copy = mem_grow(NULL, PREFIX + header);
	memcpy(copy, p, PREFIX + header);
	be_put32(copy, (uint32_t)(4 + header)); /* as if it had no body */
	err = wire_decode(copy, PREFIX + header, &r->request);
	if (err == 0) {
		serve_too_big(c, &r->request);
		wire_command_done(&r->request);
	}
	mem_free(copy);
	c->skip = total;
	return err;
}

/*
 * Serves the whole frames of P and tells how many bytes they took.  Negative: the
 * connection is no longer understood.
 */
static int64_t
serve_bytes(struct conn *c, const char *p, size_t n)
{
	struct remoting *r = c->r;
	size_t at = 0;

	if (c->requests == 0 && n > 0 && stranger(c, p, n))
		return ERR_MALFORMED;
	while (at < n && !c->closing && !c->gone) {
		size_t total;
		int err;

		if (c->skip > 0) {
			size_t some = c->skip < n - at ? c->skip : n - at;

			c->skip -= some;
			at += some;
			continue;
		}
		err = wire_frame_size(p + at, n - at, WIRE_FRAME_MAX + 4, &total);
		if (err == 0 && total > r->frame_max) {
			err = refuse_long(c, p + at, n - at, total);
			if (err == 0)
				continue;
		} else if (err == 0 && total > n - at) {
			err = WIRE_E_MORE;
		} else if (err == 0) {
			err = wire_decode(p + at, total, &r->request);
			if (err == 0) {
				serve_frame(c, &r->request);
				keep_scratch(r);
				at += total;
				continue;
			}
		}
		if (err == WIRE_E_MORE)
			break;
		return ERR_MALFORMED;
	}
	return (int64_t)at;
}

/*
 * Room for N more bytes of a partial frame of C.  Small ones have a reserve, so that one large peer
 * does not cut off the small; and when that is gone too, those go who hold of it for longest: they
 * are the ones who do not end their frames, and whoever comes now may well do so at once.
 */
static bool
room_for_small(struct conn *c, size_t n)
{
	struct remoting *r = c->r;
	uint64_t max = r->conf.receive_bytes + r->conf.receive_bytes / 4;

	LIST_EACH (node, &r->begun) {
		struct conn *other = LIST_ENTRY(node, struct conn, begun);

		if (conn_received(r) + n <= max)
			return true;
		if (other == c || other->in_need || !other->in.len)
			continue;
		r->stats.crowded++;
		complain(other, "receive memory is out, closing who began a frame first");
		conn_gone(other);
	}
	return conn_received(r) + n <= max;
}

/* Fewer bytes than a frame are left at P: kept, with a deadline for the rest. */
static void
carry(struct conn *c, const char *p, size_t n, bool fresh)
{
	struct remoting *r = c->r;
	size_t total = 0;

	if (n == 0 && c->skip == 0) {
		list_del(&c->begun);
		return;
	}
	if (fresh || list_empty(&c->begun)) {
		c->begun_ns = r->now_ns;
		list_move(&r->begun, &c->begun);
	}
	if (n == 0)
		return;
	if (!room_for_small(c, n)) {
		complain(c, "receive memory is out, closing a connection in the middle of a frame");
		conn_gone(c);
		return;
	}
	CHECK(c->in.len == 0, c->peer);
	c->in = BUF_INIT;
	buf_add(&c->in, p, n);
	if (wire_frame_size(p, n, WIRE_FRAME_MAX + 4, &total) == 0 && total > LIMIT_CARRY_SMALL &&
	    total <= r->frame_max)
		c->in_need = total;
	account(c);
}

static void
broken(struct conn *c)
{
	c->r->stats.malformed++;
	complain(c, "bytes that are no RocketMQ frame, closing");
	finish(c); /* answers of the frames before it still go out */
}

/* One read into the arena, behind what was carried over. */
static void
read_small(struct conn *c)
{
	struct remoting *r = c->r;
	size_t held = c->in.len, room, n;
	int64_t used;
	char *p;
	int err;

	if (arena_used(&r->arena) > LIMIT_TURN_READ_BYTES)
		return; /* the net tells us again next turn */
	p = arena_room(&r->arena, held + LIMIT_READ_MIN, &room);
	if (room > held + LIMIT_READ_BYTES)
		room = held + LIMIT_READ_BYTES;
	err = r->net->ops->read(c->net, p + held, room - held, &n);
	if (err < 0) {
		conn_gone(c);
		return;
	}
	if (n == 0)
		return;
	r->stats.bytes_in += n;
	if (held > 0)
		memcpy(p, c->in.data, held);
	buf_free(&c->in);
	account(c);
	n += held;
	arena_take(&r->arena, n);
	used = serve_bytes(c, p, n);
	if (c->gone)
		return;
	if (used < 0)
		broken(c);
	else if (!c->closing)
		carry(c, p + used, n - (size_t)used, used > 0 && c->skip == 0);
}

/* One read of a large frame, into its own buffer, never beyond its end. */
static void
read_large(struct conn *c)
{
	struct remoting *r = c->r;
	size_t room, n;
	int err;

	if (c->in.len == c->in.cap) {
		/* Doubled as bytes come: a length alone takes no memory of ours. */
		size_t more = min_u64(c->in.len, c->in_need - c->in.len);

		if (conn_received(r) + more > r->conf.receive_bytes) {
			complain(c, "receive memory is out, a large frame waits");
			c->starved = true;
			list_move(&r->hungry, &c->hungry);
			conn_interest(c);
			return;
		}
		(void)buf_reserve(&c->in, more);
		account(c);
	}
	room = min_u64(c->in.cap, c->in_need) - c->in.len;
	err = r->net->ops->read(c->net, c->in.data + c->in.len, room, &n);
	if (err < 0) {
		conn_gone(c);
		return;
	}
	r->stats.bytes_in += n;
	c->in.len += n;
	if (c->in.len < c->in_need)
		return;
	if (serve_bytes(c, c->in.data, c->in.len) != (int64_t)c->in_need) {
		if (!c->gone)
			broken(c);
		return;
	}
	if (c->gone)
		return;
	spend_in(c);
	list_del(&c->begun);
}

void
conn_readable(struct conn *c)
{
	struct remoting *r = c->r;

	if (c->gone || c->closing || c->stopped || c->starved)
		return;
	if (r->inflated > LIMIT_TURN_INFLATE_BYTES)
		return; /* the net tells us again next turn */
	c->idle_ns = r->now_ns;
	list_move(&r->idle, &c->idle);
	if (c->in_need > 0)
		read_large(c);
	else
		read_small(c);
}

/* ---- out ------------------------------------------------------------------------------------ */

size_t
conn_backlog(const struct conn *c)
{
	return c->out.len - c->out_at;
}

/* The next byte's position in the stream. */
static uint64_t
out_end(const struct conn *c)
{
	return c->out_base + c->out.len;
}

void
conn_touch(struct conn *c)
{
	if (!c->gone && list_empty(&c->dirty))
		list_add_tail(&c->r->dirty, &c->dirty);
}

int
conn_write_command(struct conn *c, const struct wire_command *command)
{
	struct remoting *r = c->r;
	size_t room, n = 0;
	int err;

	if (!c->out.data && r->pool_count > 0)
		c->out = r->pool[--r->pool_count];
	(void)buf_reserve(&c->out, 512);
	room = c->out.cap - c->out.len;
	err = wire_encode(command, c->out.data + c->out.len, room, &n);
	if (err == WIRE_E_ROOM) {
		(void)buf_reserve(&c->out, n);
		room = c->out.cap - c->out.len;
		err = wire_encode(command, c->out.data + c->out.len, room, &n);
	}
	if (err < 0) {
		CHECK(err == WIRE_E_TOO_BIG, c->peer);
		return ERR_TOOBIG;
	}
	CHECK(n <= room, n);
	c->out.len += n;
	account(c);
	conn_touch(c);
	return 0;
}

void
conn_mark(struct conn *c, uint64_t seq)
{
	if (c->mark_at == c->mark_count)
		c->mark_at = c->mark_count = 0;
	if (c->mark_count == c->mark_cap) {
		c->mark_cap = c->mark_cap ? c->mark_cap * 2 : 16;
		c->marks = mem_grow(c->marks, c->mark_cap * sizeof(*c->marks));
	}
	c->marks[c->mark_count++] = (struct conn_mark){ out_end(c), seq };
}

/* The socket took everything before this position: checks in it now count. */
static void
tell_marks(struct conn *c)
{
	uint64_t taken = c->out_base + c->out_at;

	while (c->mark_at < c->mark_count && c->marks[c->mark_at].end <= taken)
		core_check_written(c->r->core, c->marks[c->mark_at++].seq, c->peer);
	if (c->mark_at == c->mark_count && c->mark_cap > 64) {
		mem_free(c->marks);
		c->marks = NULL;
		c->mark_cap = 0;
		c->mark_at = c->mark_count = 0;
	}
}

/* All was taken: the buffer goes back to the pool, or to the system. */
static void
give_back(struct conn *c)
{
	struct remoting *r = c->r;

	c->out_base += c->out.len;
	c->out.len = 0;
	c->out_at = 0;
	if (c->out.data && c->out.cap <= LIMIT_POOL_BYTES && r->pool_count < LIMIT_POOL) {
		r->pool[r->pool_count++] = c->out;
		c->out = BUF_INIT;
	} else {
		buf_free(&c->out);
	}
}

void
conn_flush(struct conn *c)
{
	struct remoting *r = c->r;
	struct iovec iov;
	size_t n = 0;
	int err = 0;

	list_del(&c->dirty);
	if (conn_backlog(c) > 0) {
		iov.iov_base = c->out.data + c->out_at;
		iov.iov_len = conn_backlog(c);
		err = r->net->ops->write(c->net, &iov, 1, &n);
		c->out_at += n;
		r->stats.bytes_out += n;
		tell_marks(c);
	}
	if (err < 0) {
		conn_gone(c);
		return;
	}
	if (conn_backlog(c) == 0) {
		give_back(c);
		list_del(&c->stuck);
	} else {
		if (n > 0 || list_empty(&c->stuck)) {
			c->stuck_ns = r->now_ns;
			list_move(&r->stuck, &c->stuck);
		}
		if (c->out_at > LIMIT_OUT_RESUME && c->out_at > c->out.len / 2) {
			c->out_base += c->out_at;
			buf_drop(&c->out, c->out_at);
			c->out_at = 0;
		}
	}
	account(c);
	if (conn_backlog(c) > LIMIT_OUT_MAX) {
		complain(c, "a client does not take its answers, closing");
		conn_gone(c);
		return;
	}
	if (c->closing && conn_backlog(c) == 0) {
		conn_gone(c);
		return;
	}
	c->stopped = conn_backlog(c) > (c->stopped ? LIMIT_OUT_RESUME : LIMIT_OUT_STOP);
	conn_interest(c);
}
