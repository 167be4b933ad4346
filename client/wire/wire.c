/*
 * wire.c -- frames, the binary header, properties, and the requests with many fields.
 *
 * The binary header is the hot path: one pass over the bytes, no allocation, and of the
 * command only the fields that are there are written.
 */
#include "wire/wire.h"

#include <stdlib.h>

#include "wire/codec.h"

#define PREFIX         8  /* total, type and header length                     */
#define BINARY_HEAD    17 /* code, language, version, opaque, flag, remark length */
#define LANGUAGE_OTHER 7

/* ---- frames ------------------------------------------------------------------------------ */

int
wire_frame_size(const void *p, size_t n, size_t max, size_t *ret_total)
{
	const uint8_t *b = p;

	if (n < PREFIX)
		return WIRE_E_MORE;

	size_t total = get32(b);
	uint32_t word = get32(b + 4);
	size_t header = word & 0xFFFFFF;

	if (max > (size_t)WIRE_FRAME_MAX + 4)
		max = (size_t)WIRE_FRAME_MAX + 4;
	if (word >> 24 > WIRE_BINARY || total < 4)
		return WIRE_E_MALFORMED;
	if (total + 4 > max)
		return WIRE_E_TOO_BIG;
	if (header > total - 4)
		return WIRE_E_MALFORMED;
	if (header > WIRE_HEADER_MAX)
		return WIRE_E_TOO_BIG;
	*ret_total = total + 4;
	return 0;
}

/* Takes a string of N bytes, N as read off the wire: zero is null. */
static bool
take(const uint8_t **at, const uint8_t *end, int32_t n, struct wire_str *ret)
{
	if (n < 0 || end - *at < n)
		return false;
	ret->p = n > 0 ? (const char *)*at : NULL;
	ret->n = (size_t)n;
	*at += n;
	return true;
}

static int
binary_header_decode(const uint8_t *p, size_t n, struct wire_command *c)
{
	const uint8_t *end = p + n;
	int32_t len;

	if (n < BINARY_HEAD + 4)
		return WIRE_E_MALFORMED;
	c->code = (int16_t)get16(p);
	c->language = p[2];
	c->version = (int16_t)get16(p + 3);
	c->opaque = (int32_t)get32(p + 5);
	c->flag = (int32_t)get32(p + 9);
	len = (int32_t)get32(p + 13);
	p += BINARY_HEAD;
	if (!take(&p, end, len, &c->remark) || end - p < 4)
		return WIRE_E_MALFORMED;
	len = (int32_t)get32(p);
	p += 4;
	if (len < 0 || end - p != len)
		return WIRE_E_MALFORMED;

	while (p < end) {
		struct wire_field f;

		if (end - p < 2)
			return WIRE_E_MALFORMED;
		len = (int16_t)get16(p);
		p += 2;
		if (!take(&p, end, len, &f.name) || end - p < 4)
			return WIRE_E_MALFORMED;
		len = (int32_t)get32(p);
		p += 4;
		if (!take(&p, end, len, &f.value))
			return WIRE_E_MALFORMED;
		if (f.name.p == NULL)
			continue; /* nobody can ask for it */
		if (c->field_count == WIRE_FIELDS_MAX)
			return WIRE_E_TOO_BIG;
		c->fields[c->field_count++] = f;
	}
	return 0;
}

int
wire_decode(const void *p, size_t n, struct wire_command *ret_command)
{
	struct wire_command *c = ret_command;
	const uint8_t *b = p;
	size_t total = 0;
	int err = wire_frame_size(p, n, SIZE_MAX, &total);

	if (err < 0)
		return err;
	if (n < total)
		return WIRE_E_MORE;
	if (n > total)
		return WIRE_E_MALFORMED;

	size_t header = get32(b + 4) & 0xFFFFFF;

	c->type = b[4] == WIRE_BINARY ? WIRE_BINARY : WIRE_JSON;
	c->remark = (struct wire_str){ NULL, 0 };
	c->body = (struct wire_str){ (const char *)b + PREFIX + header, total - PREFIX - header };
	c->field_count = 0;
	c->scratch = NULL;
	if (c->type == WIRE_BINARY)
		return binary_header_decode(b + PREFIX, header, c);
	err = json_header_decode((const char *)b + PREFIX, header, c);
	if (err < 0)
		wire_command_done(c);
	return err;
}

void
wire_command_done(struct wire_command *c)
{
	if (c == NULL)
		return;
	free(c->scratch);
	c->scratch = NULL;
}

void
wire_command_init(struct wire_command *c, enum wire_type type, int32_t code)
{
	c->type = type;
	c->code = code;
	c->language = LANGUAGE_OTHER;
	c->version = 0;
	c->opaque = 0;
	c->flag = 0;
	c->remark = (struct wire_str){ NULL, 0 };
	c->body = (struct wire_str){ NULL, 0 };
	c->field_count = 0;
	c->scratch = NULL;
}

void
wire_add(struct wire_command *c, struct wire_str name, struct wire_str value)
{
	if (c->field_count < WIRE_FIELDS_MAX)
		c->fields[c->field_count++] = (struct wire_field){ name, value };
}

const struct wire_field *
wire_field(const struct wire_command *c, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = c->field_count; i-- > 0;)
		if (str_is(c->fields[i].name, name, n))
			return &c->fields[i];
	return NULL;
}

bool
wire_i64(struct wire_str text, int64_t *ret_value)
{
	bool minus = text.n > 0 && text.p[0] == '-';
	size_t i = minus ? 1 : 0;
	int64_t v = 0;

	if (text.n == i || text.n > 20)
		return false;
	for (; i < text.n; i++) {
		int digit = text.p[i] - '0';

		if (digit < 0 || digit > 9)
			return false;
		/* Counted downwards: the least number has no positive twin. */
		if (__builtin_mul_overflow(v, 10, &v) || __builtin_sub_overflow(v, digit, &v))
			return false;
	}
	if (!minus && v == INT64_MIN)
		return false;
	*ret_value = minus ? v : -v;
	return true;
}

bool
wire_field_i64(const struct wire_command *c, const char *name, int64_t *ret_value)
{
	const struct wire_field *f = wire_field(c, name);

	return f != NULL && wire_i64(f->value, ret_value);
}

struct wire_str
print_i64(char **text, int64_t v)
{
	char digits[20];
	size_t n = 0;
	char *to = *text;
	uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

	do {
		digits[n++] = (char)('0' + u % 10);
		u /= 10;
	} while (u > 0);
	if (v < 0)
		*to++ = '-';
	while (n > 0)
		*to++ = digits[--n];

	struct wire_str s = { *text, (size_t)(to - *text) };

	*text = to;
	return s;
}

/* ---- languages --------------------------------------------------------------------------- */

/* A protocol's numbering, fixed for ever: the place in the list is the byte. */
static const char *const languages[] = { "JAVA",   "CPP",  "DOTNET", "PYTHON", "DELPHI",
					 "ERLANG", "RUBY", "OTHER",  "HTTP",   "GO",
					 "PHP",    "OMS",  "RUST",   "NODE_JS" };

#define LANGUAGES ((int32_t)(sizeof(languages) / sizeof(languages[0])))

const char *
wire_language_name(int32_t language)
{
	return languages[language >= 0 && language < LANGUAGES ? language : LANGUAGE_OTHER];
}

int32_t
language_byte(struct wire_str name)
{
	for (int32_t i = 0; i < LANGUAGES; i++)
		if (str_is(name, languages[i], strlen(languages[i])))
			return i;
	return LANGUAGE_OTHER;
}

/* ---- encoding ---------------------------------------------------------------------------- */

static int
binary_encode(const struct wire_command *c, void *buf, size_t room, size_t *ret_n)
{
	size_t ext = 0;
	uint8_t *p = buf;

	for (size_t i = 0; i < c->field_count; i++) {
		if (c->fields[i].name.n > INT16_MAX)
			return WIRE_E_TOO_BIG;
		ext += 6 + c->fields[i].name.n + c->fields[i].value.n;
	}

	size_t header = BINARY_HEAD + c->remark.n + 4 + ext;
	size_t total = PREFIX + header + c->body.n;

	if (header > WIRE_HEADER_MAX || total > (size_t)WIRE_FRAME_MAX + 4)
		return WIRE_E_TOO_BIG;
	*ret_n = total;
	if (total > room)
		return WIRE_E_ROOM;

	p = put32(p, (uint32_t)(total - 4));
	p = put32(p, (uint32_t)WIRE_BINARY << 24 | (uint32_t)header);
	p = put16(p, (uint16_t)c->code);
	*p++ = (uint8_t)(c->language < 0 ? LANGUAGE_OTHER : c->language);
	p = put16(p, (uint16_t)c->version);
	p = put32(p, (uint32_t)c->opaque);
	p = put32(p, (uint32_t)c->flag);
	p = put32(p, (uint32_t)c->remark.n);
	p = put_bytes(p, c->remark.p, c->remark.n);
	p = put32(p, (uint32_t)ext);
	for (size_t i = 0; i < c->field_count; i++) {
		const struct wire_field *f = &c->fields[i];

		p = put16(p, (uint16_t)f->name.n);
		p = put_bytes(p, f->name.p, f->name.n);
		p = put32(p, (uint32_t)f->value.n);
		p = put_bytes(p, f->value.p, f->value.n);
	}
	put_bytes(p, c->body.p, c->body.n);
	return 0;
}

int
wire_encode(const struct wire_command *c, void *buf, size_t room, size_t *ret_n)
{
	if (c->type == WIRE_BINARY)
		return binary_encode(c, buf, room, ret_n);

	struct out o = { buf, room, 0 };
	uint8_t prefix[PREFIX] = { 0 };

	out_bytes(&o, prefix, PREFIX);
	json_header_encode(&o, c);

	size_t header = o.n - PREFIX;

	out_bytes(&o, c->body.p, c->body.n);
	if (header > WIRE_HEADER_MAX || o.n > (size_t)WIRE_FRAME_MAX + 4)
		return WIRE_E_TOO_BIG;
	*ret_n = o.n;
	if (o.n > room)
		return WIRE_E_ROOM;
	put32(put32(buf, (uint32_t)(o.n - 4)), (uint32_t)header);
	return 0;
}

void
wire_set_opaque(void *frame, int32_t opaque)
{
	put32((uint8_t *)frame + PREFIX + 5, (uint32_t)opaque);
}

void
wire_set_flag(void *frame, int32_t flag)
{
	put32((uint8_t *)frame + PREFIX + 9, (uint32_t)flag);
}

void
wire_set_body(void *frame, size_t frame_n, size_t n)
{
	put32(frame, (uint32_t)(frame_n - 4 + n));
}

/* ---- properties -------------------------------------------------------------------------- */

bool
wire_property_next(struct wire_str block, size_t *at, struct wire_field *ret_property)
{
	if (*at >= block.n)
		return false;

	const char *p = block.p + *at;
	size_t n = block.n - *at;
	const char *name_end, *value_end, *value;

	name_end = memchr(p, 0x01, n);
	if (name_end == NULL || name_end == p)
		return false;
	value = name_end + 1;
	n -= (size_t)(value - p);
	value_end = n > 0 ? memchr(value, 0x02, n) : NULL;
	/* A name that holds the end mark of a value is two broken properties. */
	if (memchr(p, 0x02, (size_t)(name_end - p)) != NULL)
		return false;
	if (value_end == NULL)
		value_end = value + n;
	if (memchr(value, 0x01, (size_t)(value_end - value)) != NULL)
		return false;
	ret_property->name = (struct wire_str){ p, (size_t)(name_end - p) };
	ret_property->value = (struct wire_str){ value, (size_t)(value_end - value) };
	*at = (size_t)(value_end - block.p);
	if (*at < block.n)
		(*at)++; /* the end mark */
	return true;
}

bool
wire_property_find(struct wire_str block, const char *name, struct wire_str *ret_value)
{
	struct wire_field f;
	size_t n = strlen(name);

	for (size_t at = 0; wire_property_next(block, &at, &f);) {
		if (str_is(f.name, name, n)) {
			*ret_value = f.value;
			return true;
		}
	}
	return false;
}

/* ---- the send request -------------------------------------------------------------------- */

/* The letter that V2 has for the field of V1, or 0. */
static char
send_letter(struct wire_str name)
{
	static const struct {
		const char *name;
		char letter;
	} names[] = {
		{ "producerGroup", 'a' }, { "topic", 'b' },   { "defaultTopic", 'c' },
		{ "queueId", 'e' },       { "sysFlag", 'f' }, { "defaultTopicQueueNums", 'd' },
		{ "flag", 'h' },          { "batch", 'm' },   { "bornTimestamp", 'g' },
		{ "properties", 'i' },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (str_is(name, names[i].name, strlen(names[i].name)))
			return names[i].letter;
	return 0;
}

static bool
number32(struct wire_str text, int32_t *ret)
{
	int64_t v;

	if (!wire_i64(text, &v) || v < INT32_MIN || v > INT32_MAX)
		return false;
	*ret = (int32_t)v;
	return true;
}

int
wire_send_decode(const struct wire_command *c, struct wire_send *ret_send)
{
	struct wire_send s = { .default_topic_queue_nums = 4 };
	bool v2 = c->code != WIRE_SEND;
	uint32_t seen = 0;
	bool ok = true;

	for (size_t i = 0; i < c->field_count; i++) {
		struct wire_str v = c->fields[i].value;
		struct wire_str name = c->fields[i].name;
		char letter = v2 ? (char)(name.n == 1 ? name.p[0] : 0) : send_letter(name);

		if (letter < 'a' || letter > 'm' || v.p == NULL)
			continue;
		switch (letter) {
		case 'a':
			s.producer_group = v;
			break;
		case 'b':
			s.topic = v;
			break;
		case 'c':
			s.default_topic = v;
			break;
		case 'd':
			ok &= number32(v, &s.default_topic_queue_nums);
			break;
		case 'e':
			ok &= number32(v, &s.queue_id);
			break;
		case 'f':
			ok &= number32(v, &s.sys_flag);
			break;
		case 'g':
			ok &= wire_i64(v, &s.born_timestamp);
			break;
		case 'h':
			ok &= number32(v, &s.flag);
			break;
		case 'i':
			s.properties = v;
			break;
		case 'm':
			s.batch = STR_IS(v, "true");
			break;
		default:
			break; /* j, k, l: read by nobody */
		}
		seen |= 1u << (letter - 'a');
	}

	/* producerGroup, topic, queueId, sysFlag, bornTimestamp, flag */
	uint32_t needed = 1u << 0 | 1u << 1 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 7;

	if (!ok || (seen & needed) != needed)
		return WIRE_E_MALFORMED;
	*ret_send = s;
	return 0;
}

void
wire_send_fields(const struct wire_send *s, struct wire_command *c, char text[WIRE_SEND_TEXT])
{
	bool v2 = c->code != WIRE_SEND;
	struct wire_str batch = s->batch ? WIRE_STR("true") : WIRE_STR("false");

#define NAME(v1, letter) (v2 ? WIRE_STR(letter) : WIRE_STR(v1))
	wire_add(c, NAME("producerGroup", "a"), s->producer_group);
	wire_add(c, NAME("topic", "b"), s->topic);
	wire_add(c, NAME("defaultTopic", "c"), s->default_topic);
	wire_add(c, NAME("defaultTopicQueueNums", "d"),
		 print_i64(&text, s->default_topic_queue_nums));
	wire_add(c, NAME("queueId", "e"), print_i64(&text, s->queue_id));
	wire_add(c, NAME("sysFlag", "f"), print_i64(&text, s->sys_flag));
	wire_add(c, NAME("bornTimestamp", "g"), print_i64(&text, s->born_timestamp));
	wire_add(c, NAME("flag", "h"), print_i64(&text, s->flag));
	wire_add(c, NAME("properties", "i"), s->properties);
	wire_add(c, NAME("reconsumeTimes", "j"), WIRE_STR("0"));
	wire_add(c, NAME("unitMode", "k"), WIRE_STR("false"));
	wire_add(c, NAME("batch", "m"), batch);
#undef NAME
}

/* ---- the decision ------------------------------------------------------------------------ */

int
wire_end_decode(const struct wire_command *c, struct wire_end *ret_end)
{
	struct wire_end e = { .decision = WIRE_UNKNOWN };
	bool group = false, state = false, log = false, decided = false, ok = true;
	int64_t decision = 0;

	for (size_t i = 0; i < c->field_count; i++) {
		struct wire_str name = c->fields[i].name;
		struct wire_str v = c->fields[i].value;

		if (v.p == NULL)
			continue;
		if (STR_IS(name, "producerGroup")) {
			e.producer_group = v;
			group = true;
		} else if (STR_IS(name, "tranStateTableOffset")) {
			ok &= wire_i64(v, &e.state_offset);
			state = true;
		} else if (STR_IS(name, "commitLogOffset")) {
			ok &= wire_i64(v, &e.log_offset);
			log = true;
		} else if (STR_IS(name, "commitOrRollback")) {
			ok &= wire_i64(v, &decision);
			decided = true;
		} else if (STR_IS(name, "fromTransactionCheck")) {
			e.from_check = STR_IS(v, "true");
		} else if (STR_IS(name, "msgId")) {
			e.msg_id = v;
		} else if (STR_IS(name, "transactionId")) {
			e.transaction_id = v;
		} else if (STR_IS(name, "topic")) {
			e.topic = v;
		}
	}
	if (!ok || !group || !state || !log || !decided)
		return WIRE_E_MALFORMED;
	if (decision == WIRE_COMMIT)
		e.decision = WIRE_COMMIT;
	else if (decision == WIRE_ROLLBACK)
		e.decision = WIRE_ROLLBACK;
	*ret_end = e;
	return 0;
}

void
wire_end_fields(const struct wire_end *e, struct wire_command *c, char text[WIRE_END_TEXT])
{
	wire_add(c, WIRE_STR("producerGroup"), e->producer_group);
	wire_add(c, WIRE_STR("tranStateTableOffset"), print_i64(&text, e->state_offset));
	wire_add(c, WIRE_STR("commitLogOffset"), print_i64(&text, e->log_offset));
	wire_add(c, WIRE_STR("commitOrRollback"), print_i64(&text, e->decision));
	wire_add(c, WIRE_STR("fromTransactionCheck"),
		 e->from_check ? WIRE_STR("true") : WIRE_STR("false"));
	wire_add(c, WIRE_STR("msgId"), e->msg_id);
	wire_add(c, WIRE_STR("transactionId"), e->transaction_id);
	if (e->topic.n > 0)
		wire_add(c, WIRE_STR("topic"), e->topic);
}
