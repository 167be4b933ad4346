/*
 * wire.h -- RocketMQ remoting frames: bytes to structs and back.
 *
 * Pure, over bytes the caller owns; uses libc only.  The daemon, libescrow and the tests
 * link the same objects.  client/PROTOCOL.md documents the bytes.
 *
 *      u32 total | u32 type << 24 | header length | header | body        all big-endian
 *
 * type 0: the header is JSON; 1: RocketMQ's binary header.  Decoded strings point into
 * the frame, or, where JSON had to be unescaped or a number turned into text, into the
 * command's scratch memory.  An answer has the serialisation of its request.
 *
 * All functions return 0 or a negative WIRE_E_*.
 */
#ifndef ESCROW_WIRE_H
#define ESCROW_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_FRAME_MAX (16u << 20) /* RocketMQ's frameMaxLength: total may not exceed it   */
#define WIRE_HEADER_MAX (256u << 10) /* 32,512 B of properties may grow 3.5 times in JSON   */
#define WIRE_FIELDS_MAX 64 /* ext fields of one header                                    */
#define WIRE_PROPERTIES_MAX 32512 /* property block of a message we accept (PROTOCOL.md)      */
#define WIRE_GROUPS_MAX 256 /* producer groups of one heartbeat                            */
#define WIRE_DEPTH_MAX 16 /* of nested JSON that is stepped over                           */

/*
 * The build zeroes locals.  A command is 2 KiB, of which a frame uses a tenth: say
 * `struct wire_command c WIRE_UNSET;` where one is made for each frame.  wire_decode() sets
 * all that may be read after it.
 */
#if defined(__has_attribute)
#if __has_attribute(uninitialized)
#define WIRE_UNSET __attribute__((uninitialized))
#endif
#endif
#ifndef WIRE_UNSET
#define WIRE_UNSET
#endif

enum wire_error {
	WIRE_E_MORE = -1,      /* not a whole frame yet                                   */
	WIRE_E_MALFORMED = -2, /* never will be: close the connection                     */
	WIRE_E_TOO_BIG = -3,   /* a limit of this header; close the connection            */
	WIRE_E_NOMEM = -4,
	WIRE_E_ROOM = -5,      /* the output buffer is too small                          */
};

struct wire_str {
	const char *p;
	size_t n;
};

#define WIRE_STR(literal) ((struct wire_str){ (literal), sizeof(literal) - 1 })

/* The value of a hex digit of either case; -1: it is none. */
static inline int
wire_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
		return (c | 0x20) - 'a' + 10;
	return -1;
}

enum wire_type { WIRE_JSON = 0, WIRE_BINARY = 1 };
enum wire_flag { WIRE_RESPONSE = 1, WIRE_ONEWAY = 2 };

/* Requests.  7801 and up are Escrow's own. */
enum wire_code {
	WIRE_SEND = 10,
	WIRE_HEARTBEAT = 34,
	WIRE_UNREGISTER = 35,
	WIRE_END_TRANSACTION = 37,
	WIRE_CHECK_TRANSACTION = 39,
	WIRE_ROUTE = 105,
	WIRE_SEND_V2 = 310,
	WIRE_SEND_BATCH = 320,
	WIRE_WATERMARK = 7801,
	WIRE_HALF_SEND = 7802,
};

/* Responses. */
enum wire_result {
	WIRE_SUCCESS = 0,
	WIRE_SYSTEM_ERROR = 1,
	WIRE_SYSTEM_BUSY = 2,
	WIRE_NOT_SUPPORTED = 3,
	WIRE_TRANSACTION_FAILED = 4,
	WIRE_MESSAGE_ILLEGAL = 13,
	WIRE_NO_PERMISSION = 16,
	WIRE_TOPIC_NOT_EXIST = 17,
};

/* commitOrRollback of END_TRANSACTION; anything else counts as unknown. */
enum wire_decision { WIRE_UNKNOWN = 0, WIRE_COMMIT = 8, WIRE_ROLLBACK = 12 };

/* Bits of sysFlag. */
enum wire_sysflag {
	WIRE_SYS_COMPRESSED = 0x1,
	WIRE_SYS_PREPARED = 0x4,
	WIRE_SYS_TRANSACTION = 0xC, /* mask of the kind: 4 half, 8 commit, 12 rollback */
	WIRE_SYS_BORNHOST_V6 = 0x10,
	WIRE_SYS_STOREHOST_V6 = 0x20,
	WIRE_SYS_COMPRESSION = 0x700, /* 0x100 LZ4, 0x200 ZSTD, 0x300 or 0 ZLIB */
};

struct wire_field {
	struct wire_str name;
	struct wire_str value; /* .p NULL: null */
};

struct wire_command {
	enum wire_type type;
	int32_t code;	/* request or response code */
	int32_t language; /* byte as in the binary header; 0 JAVA ... 12 NODE_JS; -1 not told */
	int32_t version;
	int32_t opaque;
	int32_t flag;
	struct wire_str remark; /* .p NULL: none */
	struct wire_str body;
	size_t field_count;
	struct wire_field fields[WIRE_FIELDS_MAX];
	char *scratch; /* JSON only: unescaped strings; wire_command_done() frees */
};

/*
 * How long the frame at P is, when N bytes of it are there: *RET_TOTAL counts the length
 * field too.  WIRE_E_MORE while N < 8; WIRE_E_TOO_BIG above MAX (at most WIRE_FRAME_MAX + 4),
 * WIRE_E_MALFORMED for lengths that cannot be.  Looks at the first eight bytes only.
 */
int wire_frame_size(const void *p, size_t n, size_t max, size_t *ret_total);
/*
 * Decodes one whole frame of N bytes.  The command borrows from P.  Binary headers allocate
 * nothing.  After an error there is nothing to free.
 */
int wire_decode(const void *p, size_t n, struct wire_command *ret_command);
/* Sets everything but the fields' own room: a command to be filled and encoded. */
void wire_command_init(struct wire_command *c, enum wire_type type, int32_t code);
/* Adds a field; more than WIRE_FIELDS_MAX are dropped (our own frames have 15 at most). */
void wire_add(struct wire_command *c, struct wire_str name, struct wire_str value);
void wire_command_done(struct wire_command *c);
/* The last field of that name, or NULL. */
const struct wire_field *wire_field(const struct wire_command *c, const char *name);
/* Its value as a number: false when it is missing, null or not a whole decimal int64. */
bool wire_field_i64(const struct wire_command *c, const char *name, int64_t *ret_value);
bool wire_i64(struct wire_str text, int64_t *ret_value);
/* "JAVA", "GO", ...; "OTHER" for a byte that has no name. */
const char *wire_language_name(int32_t language);

/*
 * Writes C as a frame into BUF: *RET_N bytes, or WIRE_E_ROOM with *RET_N = what it takes.
 * C->scratch is not looked at.
 */
int wire_encode(const struct wire_command *c, void *buf, size_t room, size_t *ret_n);

/*
 * For who keeps frames: another opaque or flag in a binary frame, and a body of N bytes for one
 * that was encoded without, which the caller puts behind it.
 */
void wire_set_opaque(void *frame, int32_t opaque);
void wire_set_flag(void *frame, int32_t flag);
void wire_set_body(void *frame, size_t frame_n, size_t n);

/* ---- properties: name 0x01 value 0x02 ... ----------------------------------------- */

/* Steps through a block: *AT is 0 to begin.  False at the end and on malformed bytes (then
 * *AT < block.n).  The trailing 0x02 may be missing. */
bool wire_property_next(struct wire_str block, size_t *at, struct wire_field *ret_property);
bool wire_property_find(struct wire_str block, const char *name, struct wire_str *ret_value);

/* ---- the send request, code 10 or 310, in one struct --------------------------------- */

struct wire_send {
	struct wire_str producer_group;
	struct wire_str topic;
	struct wire_str default_topic;
	int32_t default_topic_queue_nums;
	int32_t queue_id;
	int32_t sys_flag;
	int64_t born_timestamp;
	int32_t flag;
	struct wire_str properties;
	bool batch;
};

/* From a decoded 10 or 310.  WIRE_E_MALFORMED: a field is missing or no number. */
int wire_send_decode(const struct wire_command *c, struct wire_send *ret_send);
/* Adds the fields to C (V2 names when c->code is 310); numbers are printed into TEXT. */
#define WIRE_SEND_TEXT 256
void wire_send_fields(const struct wire_send *s, struct wire_command *c, char text[WIRE_SEND_TEXT]);

/* ---- Escrow's own half-send, code 7802: one or several messages ------------------------------ */


struct wire_half {
	struct wire_str group;
	struct wire_str key;	/* idempotency key; null: none                          */
	struct wire_str db_id;	/* 32 hex digits; null: none                            */
	int64_t born_ms;	/* the producer's clock; 0: not told                    */
	int32_t check_after_s;	/* 0: the broker's setting                              */
};

/* From a decoded 7802.  WIRE_E_MALFORMED: group is missing, or a number is none. */
int wire_half_decode(const struct wire_command *c, struct wire_half *ret_half);
#define WIRE_HALF_TEXT 64
void wire_half_fields(const struct wire_half *h, struct wire_command *c, char text[WIRE_HALF_TEXT]);

/* One message of its body. */
struct wire_part {
	struct wire_str topic;
	int32_t partition;	/* -1: by key, or spread                                */
	struct wire_str key;	/* .p NULL: none                                        */
	struct wire_str value;	/* .p NULL: null                                        */
	struct wire_str headers; /* { varint n, name | varint n + 1 (0: null), value }*   */
};

size_t wire_part_size(const struct wire_part *p);
/* Writes wire_part_size() bytes at TO. */
void wire_part_put(const struct wire_part *p, void *to);
/*
 * Steps through a body: *AT is 0 to begin.  1: *RET_PART is set; 0: the end; WIRE_E_MALFORMED.
 * The headers are not looked at.
 */
int wire_part_next(struct wire_str body, size_t *at, struct wire_part *ret_part);
/* The bytes of one header: written when TO is not NULL. */
size_t wire_header_put(struct wire_str name, struct wire_str value, void *to);

/* ---- the decision, code 37 --------------------------------------------------------------- */

struct wire_end {
	struct wire_str producer_group;
	int64_t state_offset; /* tranStateTableOffset: the answer's queueOffset, or the check's */
	int64_t log_offset;   /* commitLogOffset: the i64 inside msgId, or the check's          */
	enum wire_decision decision;
	bool from_check;
	struct wire_str msg_id;		/* UNIQ_KEY; may be null                          */
	struct wire_str transaction_id; /* gid; null from C++                             */
	struct wire_str topic;		/* null from old clients                          */
};

/* From a decoded 37.  WIRE_E_MALFORMED: producerGroup, an offset or commitOrRollback is
 * missing or no number. */
int wire_end_decode(const struct wire_command *c, struct wire_end *ret_end);
#define WIRE_END_TEXT 64
void wire_end_fields(const struct wire_end *e, struct wire_command *c, char text[WIRE_END_TEXT]);

/* ---- the body of a heartbeat, code 34 ---------------------------------------------------- */

struct wire_heartbeat {
	struct wire_str client_id;
	size_t group_count;
	struct wire_str groups[WIRE_GROUPS_MAX]; /* producerDataSet[].groupName            */
	char *scratch;				 /* wire_heartbeat_done() frees            */
};

/* WIRE_E_TOO_BIG: more than WIRE_GROUPS_MAX groups.  The heartbeat borrows from BODY. */
int wire_heartbeat_decode(struct wire_str body, struct wire_heartbeat *ret_heartbeat);
void wire_heartbeat_done(struct wire_heartbeat *h);
/* As wire_encode(). */
int wire_heartbeat_encode(const struct wire_heartbeat *h, void *buf, size_t room, size_t *ret_n);

/* ---- a stored message, as the body of a check (39) ------------------------------------ */

struct wire_message {
	int32_t queue_id;
	int32_t flag;
	int64_t queue_offset;
	int64_t physical_offset;
	int32_t sys_flag;
	int64_t born_timestamp;
	uint8_t born_ip[16], store_ip[16];
	uint8_t born_ip_len, store_ip_len; /* 4 or 16 */
	int32_t born_port, store_port;
	int64_t store_timestamp;
	int32_t reconsume_times;
	int64_t prepared_offset;
	struct wire_str body;
	struct wire_str topic;	    /* at most 127 bytes */
	struct wire_str properties; /* at most 32767 bytes */
};

size_t wire_message_size(const struct wire_message *m);
/*
 * Writes wire_message_size() bytes; the body's CRC32 is computed, the V6 bits of sysFlag
 * follow the lengths of the addresses.  WIRE_E_TOO_BIG: topic or properties.
 */
int wire_message_encode(const struct wire_message *m, void *buf, size_t room);
/* WIRE_E_MALFORMED for a wrong CRC too.  The message borrows from P. */
int wire_message_decode(const void *p, size_t n, struct wire_message *ret_message);
/* CRC-32 of IEEE 802.3, as java.util.zip has it. */
uint32_t wire_crc32(const void *p, size_t n);

/* ---- ids -------------------------------------------------------------------------------- */

/* offsetMsgId: upper-case hex of ip, port, offset: 32 or 56 digits and a NUL. */
#define WIRE_MSG_ID_TEXT 57
void wire_msg_id_format(const uint8_t *ip, uint8_t ip_len, int32_t port, int64_t offset,
			char ret_text[WIRE_MSG_ID_TEXT]);
int wire_msg_id_parse(struct wire_str text, int64_t *ret_offset);

#endif /* ESCROW_WIRE_H */
