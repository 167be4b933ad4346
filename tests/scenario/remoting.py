"""remoting.py -- RocketMQ remoting frames in Python: a peer for tests, sloppy on purpose.

Written from client/PROTOCOL.md alone and sharing nothing with client/wire, so that an error
of one is not repeated by the other.  Whatever must be malformed can be: raw() sends bytes.
"""

import json
import socket
import struct

HALF, PLAIN = 4, 0
COMMIT, ROLLBACK, UNKNOWN = 8, 12, 0


class Closed(Exception):
	"""The other end closed the connection."""


class Silence(Exception):
	"""Nothing came in time."""


class Answer:
	def __init__(self, code, opaque, flag, remark, ext, body):
		self.code, self.opaque, self.flag = code, opaque, flag
		self.remark, self.ext, self.body = remark, ext, body

	def __repr__(self):
		return "code %d (%s)" % (self.code, self.remark or "no remark")


def json_header(code, opaque, flag, ext):
	return json.dumps({"code": code, "language": "PYTHON", "version": 401, "opaque": opaque, "flag": flag,
			   "extFields": ext, "serializeTypeCurrentRPC": "JSON"}, separators=(",", ":")).encode()


def binary_header(code, opaque, flag, ext):
	fields = b"".join(struct.pack(">h", len(k.encode())) + k.encode()
			  + struct.pack(">i", len(str(v).encode())) + str(v).encode() for k, v in ext.items())
	return struct.pack(">hBhii", code, 5, 401, opaque, flag) + struct.pack(">i", 0) + struct.pack(">i", len(fields)) + fields


def frame(header, body=b"", kind=0):
	return struct.pack(">II", 4 + len(header) + len(body), kind << 24 | len(header)) + header + body


def properties(pairs):
	return "".join("%s\x01%s\x02" % pair for pair in pairs)


class Peer:
	"""One connection."""

	def __init__(self, address, binary=False, timeout=10.0):
		host, port = address.rsplit(":", 1)
		self.socket = socket.create_connection((host, int(port)), timeout)
		self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
		self.socket.settimeout(timeout)
		self.binary = binary
		self.opaque = 0
		self.held = b""

	def close(self):
		self.socket.close()

	def raw(self, data):
		try:
			self.socket.sendall(data)
		except OSError:
			raise Closed from None

	def take(self, n):
		while len(self.held) < n:
			try:
				more = self.socket.recv(65536)
			except socket.timeout:
				raise Silence from None
			except OSError:
				raise Closed from None
			if not more:
				raise Closed
			self.held += more
		taken, self.held = self.held[:n], self.held[n:]
		return taken

	def read(self):
		total, word = struct.unpack(">II", self.take(8))
		header, body = self.take(word & 0xFFFFFF), None
		body = self.take(total - 4 - len(header))
		if word >> 24 == 0:
			h = json.loads(header)
			return Answer(h["code"], h["opaque"], h["flag"], h.get("remark") or "", h.get("extFields") or {}, body)
		code, _, _, opaque, flag, n = struct.unpack_from(">hBhiii", header)
		remark = header[17:17 + n].decode()
		ext, at = {}, 21 + n
		while at < len(header):
			k, = struct.unpack_from(">h", header, at)
			name = header[at + 2:at + 2 + k].decode()
			v, = struct.unpack_from(">i", header, at + 2 + k)
			ext[name] = header[at + 6 + k:at + 6 + k + v].decode()
			at += 6 + k + v
		return Answer(code, opaque, flag, remark, ext, body)

	def encode(self, code, ext, body=b"", flag=0):
		self.opaque += 1
		if self.binary:
			return frame(binary_header(code, self.opaque, flag, ext), body, 1)
		return frame(json_header(code, self.opaque, flag, ext), body)

	def send(self, code, ext, body=b"", flag=0):
		self.raw(self.encode(code, ext, body, flag))

	def ask(self, code, ext, body=b""):
		self.send(code, ext, body)
		answer = self.read()
		if answer.opaque != self.opaque:
			raise AssertionError("an answer to opaque %d came for %d" % (answer.opaque, self.opaque))
		return answer

	def is_closed(self, seconds=10.0):
		"""Reads until the end: True when the peer closes in time."""
		self.socket.settimeout(seconds)
		try:
			while True:
				self.take(1)
		except Closed:
			return True
		except Silence:
			return False

	# -- requests ------------------------------------------------------------

	def route(self, topic):
		return self.ask(105, {"topic": topic})

	def heartbeat(self, group, client="127.0.0.1@test"):
		return self.ask(34, {}, json.dumps({"clientID": client, "producerDataSet": [{"groupName": group}]}).encode())

	def half_fields(self, group, topic, props, flags=HALF, **change):
		ext = {"producerGroup": group, "topic": topic, "defaultTopic": "TBW102", "defaultTopicQueueNums": "4",
		       "queueId": "0", "sysFlag": str(flags), "bornTimestamp": "1700000000000", "flag": "0",
		       "properties": props if isinstance(props, str) else properties(props),
		       "reconsumeTimes": "0", "unitMode": "false", "batch": "false"}
		ext.update(change)
		return {k: v for k, v in ext.items() if v is not None}

	def half(self, group, topic, body, key, more=(), flags=HALF, **change):
		props = [("TRAN_MSG", "true"), ("PGROUP", group), ("UNIQ_KEY", key), *more]
		return self.ask(10, self.half_fields(group, topic, props, flags, **change), body)

	def end_fields(self, group, half, decision, **change):
		ext = {"producerGroup": group, "tranStateTableOffset": half.ext["queueOffset"],
		       "commitLogOffset": str(int(half.ext["msgId"][-16:], 16)), "commitOrRollback": str(decision),
		       "fromTransactionCheck": "false", "msgId": "", "transactionId": half.ext["transactionId"]}
		ext.update(change)
		return {k: v for k, v in ext.items() if v is not None}

	def end(self, group, half, decision, **change):
		return self.ask(37, self.end_fields(group, half, decision, **change))
