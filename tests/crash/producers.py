"""producers.py -- producers that write down what they ask, what they are told, and what nobody knows.

One thread, some connections, some messages at a time on each.  A message is half-sent, its local
transaction commits or not, END says so; some fall silent and leave it to the checks.  When the answer
to a half-send does not come, the half-send is repeated or given up; so is END.  A check is
answered from the producers' database, the truth: it outlives connections and producers.

Who is asked about a message whose local transaction has not begun says "rollback", and must see to
it that it never will: either by a fence (it is rolled back from then on), or because the half-send
will be repeated, and by the time that the transaction begins the answer is of an older
generation, which the broker does not count.  Both are played here; of the second kind the answers
are held back until after the repeat, which is when they would do harm.
"""

import collections
import json
import random
import selectors
import socket
import struct
import threading
import time
import zlib

import remoting

COMMIT, ROLLBACK, UNKNOWN = "commit", "rollback", "unknown"
CODE = {COMMIT: remoting.COMMIT, ROLLBACK: remoting.ROLLBACK, UNKNOWN: remoting.UNKNOWN}
CHECK, END, SEND, HEARTBEAT = 39, 37, 10, 34
BUSY, DECIDED = 2, 4
CONNECT = 0.5		# seconds
WORK_MAX = 200	# what may wait to be repeated on one connection


class Settings:
	rate = 1000		# half-sends per second, all together
	connections = 6
	window = 6		# messages under way on each connection
	keys = 40
	topics = ("left", "right")
	body = (50, 400)
	rollback = 0.25		# of the local transactions
	silent = 0.08		# END is never sent
	repeat = 0.6		# a half-send or END without an answer is repeated
	unknown = 0.15		# of the answers to checks
	again = 0.02		# of the committed: half-sent once more, which must be refused
	timeout = 3.0		# for an answer; then the connection is given up

	def __init__(self, **change):
		for name, value in change.items():
			assert hasattr(Settings, name), name
			setattr(self, name, value)


class Message:
	"""One under way; forgotten once its END is answered."""
	__slots__ = ("uniq", "topic", "key", "body", "gid", "tokens", "truth", "state", "due", "late", "repeats")

	def __init__(self, uniq, topic, key, body):
		self.uniq, self.topic, self.key, self.body = uniq, topic, key, body
		self.gid = self.tokens = self.truth = None
		self.state = "half"	# then "end"
		self.due = 0.0		# not before
		self.repeats = False	# it waits to be half-sent again
		self.late = []		# checks whose answer is held back till then


class Line:
	"""One connection: what was asked on it and is not answered yet."""

	def __init__(self, number, owner):
		self.number, self.owner = number, owner
		self.socket = None
		self.open = False
		self.held, self.out = b"", b""
		self.waiting = {}		# opaque -> (op, what, message or gid, deadline)
		self.opaque = 0
		self.work = collections.deque()	# messages to go on with
		self.again = 0.0		# not before
		self.since = 0.0


class Producers(threading.Thread):
	def __init__(self, address, history, seed, settings=None, group="torture"):
		super().__init__(daemon=True)
		host, port = address.rsplit(":", 1)
		self.address = (host, int(port))
		self.history, self.random = history, random.Random(seed)
		self.settings = settings or Settings()
		self.group, self.run_id = group, "%08X" % (seed & 0xFFFFFFFF)
		self.count = 0
		self.truth = {}		# gid -> what its local transaction became
		self.tokens = {}	# gid -> (tranStateTableOffset, commitLogOffset), of all that were answered
		self.by_uniq = {}	# messages under way
		self.selector = selectors.DefaultSelector()
		self.lines = [Line(i, self) for i in range(self.settings.connections)]
		self.paused = threading.Event()
		self.ended = threading.Event()
		self.off, self.deaf = threading.Event(), threading.Event()	# asked for, and so
		self.crashes = 0	# of producers, asked for by crash()
		self.killed_with = self.timeouts = 0	# operations under way
		self.error = None
		self.codes = collections.Counter()
		self.audit_left = None
		self.next_send = time.monotonic()
		self.ok = 0
		self.topics = set()	# those of which a half-send was answered
		self.commit_at = 0	# when a commit was last answered

	# -- from outside -------------------------------------------------------------------------

	def crash(self):
		"""One producer dies: its connection is reset, what it had under way it has forgotten."""
		self.crashes += 1

	def cut_off(self):
		"""From here on no answer reaches anybody, as when the power of the other machine is gone."""
		self.deaf.clear()
		self.off.set()
		while not self.deaf.wait(0.1):
			self.alive()

	def plug_in(self):
		self.off.clear()

	def pause(self):
		"""No new messages; those under way come to their end."""
		self.paused.set()

	def idle(self):
		self.alive()
		return not self.by_uniq

	def audit(self, contrary=0.2):
		"""Says every decision again, and of some the contrary: all must still be known."""
		left = collections.deque()
		for gid in self.tokens:
			left.append((gid, False))
			if self.random.random() < contrary:
				left.append((gid, True))
		self.audit_left = left

	def audited(self):
		self.alive()
		return not self.audit_left and not self.under_way()

	def under_way(self):
		return any(line.waiting for line in self.lines)

	def alive(self):
		if self.error:
			raise self.error

	def end(self):
		self.ended.set()
		self.join(10)
		self.alive()

	# -- the loop -----------------------------------------------------------------------------

	def run(self):
		try:
			while not self.ended.is_set():
				self.turn()
		except Exception as e:  # the harness asks for it
			self.error = e
		for line in self.lines:
			self.lose(line, "the run ended")

	def turn(self):
		now = time.monotonic()
		while self.crashes:
			self.crashes -= 1
			line = self.random.choice([line for line in self.lines if line.waiting] or self.lines)
			self.killed_with += len(line.waiting)
			self.lose(line, "producer killed", forget=True)
		if self.off.is_set():
			for line in self.lines:
				if line.socket is not None:
					self.lose(line, "cut off")
			self.deaf.set()
		for line in self.lines:
			if line.socket is None and now >= line.again and not self.off.is_set():
				self.connect(line, now)
			if line.open:
				self.feed(line, now)
				self.flush(line)
			if any(deadline < now for *_, deadline in line.waiting.values()):
				self.timeouts += len(line.waiting)
				self.lose(line, "no answer in time")
			elif line.socket is not None and not line.open and line.since + CONNECT < now:
				self.lose(line, "no connection in time")
		for key, events in self.selector.select(0.005):
			line = key.data
			if line.socket is None:
				continue
			if events & selectors.EVENT_WRITE and not line.open:
				self.opened(line)
			if events & selectors.EVENT_READ and line.socket is not None:
				self.receive(line)

	def connect(self, line, now):
		line.socket = socket.socket()
		line.socket.setblocking(False)
		line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
		line.since = now
		line.socket.connect_ex(self.address)
		self.selector.register(line.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, line)

	def opened(self, line):
		if line.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
			self.lose(line, "refused")
			return
		line.open = True
		self.selector.modify(line.socket, selectors.EVENT_READ, line)
		body = json.dumps({"clientID": "127.0.0.1@%d" % line.number, "producerDataSet": [{"groupName": self.group}]}).encode()
		self.send(line, HEARTBEAT, {}, body)

	def lose(self, line, why, forget=False):
		"""Nobody knows what became of what is under way."""
		if line.socket is not None:
			self.selector.unregister(line.socket)
			line.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
			line.socket.close()
		line.socket, line.open, line.held, line.out = None, False, b"", b""
		waiting, line.waiting = line.waiting, {}
		for op, f, what, _ in waiting.values():
			if op is not None:
				self.history.note("info", op=op, why=why)
			if f == "audit":
				self.audit_left.appendleft(what)
			elif f in ("half", "end"):
				if forget:
					self.drop(what)
				else:
					self.go_on(line, what, f)
		if forget:
			for m in line.work:
				self.drop(m)
			line.work.clear()
		line.again = time.monotonic() + 0.005

	def drop(self, m):
		self.by_uniq.pop(m.uniq, None)

	def go_on(self, line, m, f):
		"""After an END or a half-send of which nobody knows."""
		if self.random.random() < self.settings.repeat or (f == "end" and self.paused.is_set()):
			m.due = time.monotonic() + self.random.random() * (0.8 if f == "half" else 0.2)
			m.repeats = f == "half"
			line.work.append(m)
		else:
			self.drop(m)

	# -- what is asked --------------------------------------------------------------------------

	def send(self, line, code, ext, body=b"", op=None, f=None, what=None):
		line.opaque += 1
		line.out += remoting.frame(remoting.json_header(code, line.opaque, 0, ext), body)
		line.waiting[line.opaque] = (op, f, what, time.monotonic() + self.settings.timeout)

	def feed(self, line, now):
		for _ in range(len(line.work)):
			m = line.work.popleft()
			if m.due > now:
				line.work.append(m)
			elif m.state == "half":
				self.half(line, m)
			else:
				self.finish(line, m)
		if self.audit_left is not None:
			while self.audit_left and len(line.waiting) < 64:
				self.audit_one(line, self.audit_left.popleft())
			return
		if self.paused.is_set():
			return
		if self.next_send < now - 0.2:	# it was away: no burst
			self.next_send = now - 0.2
		while len(line.waiting) < self.settings.window and len(line.work) < WORK_MAX and self.next_send <= now:
			self.next_send += 1 / self.settings.rate
			self.half(line, self.make())

	def make(self):
		r, s = self.random, self.settings
		self.count += 1
		m = Message("%s%024X" % (self.run_id, self.count), r.choice(s.topics), "k%d" % r.randrange(s.keys),
			    r.randbytes(r.randint(*s.body)))
		self.by_uniq[m.uniq] = m
		return m

	def half(self, line, m, f="half"):
		m.repeats = False
		op = self.history.invoke("half", p=line.number, uniq=m.uniq, topic=m.topic, key=m.key, crc=zlib.crc32(m.body))
		ext = {"producerGroup": self.group, "topic": m.topic, "defaultTopic": "TBW102", "defaultTopicQueueNums": "4",
		       "queueId": "0", "sysFlag": "4", "bornTimestamp": "1700000000000", "flag": "0",
		       "properties": remoting.properties([("TRAN_MSG", "true"), ("PGROUP", self.group), ("UNIQ_KEY", m.uniq),
							  ("KEYS", m.key)])}
		self.send(line, SEND, ext, m.body, op, f, m)

	def decide(self, line, f, gid, tokens, said, uniq, what, check=False):
		op = self.history.invoke("answer" if check else said, p=line.number, uniq=uniq, gid=gid,
					 **({"said": said} if check else {}))
		ext = {"producerGroup": self.group, "tranStateTableOffset": tokens[0], "commitLogOffset": tokens[1],
		       "commitOrRollback": str(CODE[said]), "fromTransactionCheck": "true" if check else "false",
		       "msgId": uniq, "transactionId": gid}
		self.send(line, END, ext, b"", op, f, what)

	def finish(self, line, m):
		self.decide(line, "end", m.gid, m.tokens, m.truth, m.uniq, m)

	def audit_one(self, line, what):
		gid, contrary = what
		truth = self.truth[gid]
		said = {COMMIT: ROLLBACK, ROLLBACK: COMMIT}[truth] if contrary else truth
		self.decide(line, "audit", gid, self.tokens[gid], said, "", what)

	# -- what is answered -------------------------------------------------------------------------

	def flush(self, line):
		if line.out and line.socket is not None:
			try:
				line.out = line.out[line.socket.send(line.out):]
			except BlockingIOError:
				pass
			except OSError:
				self.lose(line, "closed")

	def receive(self, line):
		try:
			more = line.socket.recv(1 << 18)
		except BlockingIOError:
			return
		except OSError:
			more = b""
		if not more:
			self.lose(line, "closed")
			return
		line.held += more
		at = 0
		while len(line.held) - at >= 8:
			total, word = struct.unpack_from(">II", line.held, at)
			if len(line.held) - at < 4 + total:
				break
			n = word & 0xFFFFFF
			h = json.loads(line.held[at + 8:at + 8 + n])
			at += 4 + total
			if h["flag"] & 1:
				self.answered(line, h)
			elif h["code"] == CHECK:
				self.checked(line, h["extFields"])
		line.held = line.held[at:]
		self.flush(line)

	def answered(self, line, h):
		op, f, what, _ = line.waiting.pop(h["opaque"])
		code, remark, ext = h["code"], h.get("remark") or "", h.get("extFields") or {}
		self.codes["%s %d" % (f, code)] += 1
		if f is None:
			return
		if code == 0:
			self.ok += 1
		if f == "half":
			self.half_answered(line, op, what, code, remark, ext)
			return
		if f == "again" and code == 0:
			self.history.note("ok", op=op, gid=ext["transactionId"])	# the judge will object
		elif code == 0:
			self.history.note("ok", op=op, **({"stale": True} if remark.startswith("stale") else {}))
		else:
			winner = remark.split(": ")[1] if code == DECIDED and remark.startswith("decided: ") else None
			self.history.note("fail", op=op, code=code, remark=remark, **({"winner": winner} if winner else {}))
		if f == "end":
			if code == 0 and what.truth == COMMIT:
				self.commit_at = time.monotonic()
			if code == BUSY:
				what.due = time.monotonic() + 0.05
				line.work.append(what)
			else:
				self.drop(what)
				if code == 0 and what.truth == COMMIT and self.random.random() < self.settings.again:
					self.half(line, what, "again")
		elif f == "audit" and code == BUSY:
			self.audit_left.append(what)

	def half_answered(self, line, op, m, code, remark, ext):
		if code != 0:
			self.history.note("fail", op=op, code=code, remark=remark)
			self.drop(m)
			return
		self.topics.add(m.topic)
		m.gid = ext["transactionId"]
		m.tokens = (ext["queueOffset"], str(int(ext["msgId"][-16:], 16)))
		self.history.note("ok", op=op, gid=m.gid)
		self.tokens[m.gid] = m.tokens
		# The local transaction: a fence may have been there first.
		m.truth = self.truth.setdefault(m.gid, ROLLBACK if self.random.random() < self.settings.rollback else COMMIT)
		for uniq, gid, tokens in m.late:
			self.decide(line, "answer", gid, tokens, ROLLBACK, uniq, None, True)
		m.late = []
		if self.random.random() < self.settings.silent:
			self.drop(m)
			return
		m.state = "end"
		self.finish(line, m)

	def checked(self, line, ext):
		gid, uniq = ext["transactionId"], ext["msgId"]
		tokens = (ext["tranStateTableOffset"], ext["commitLogOffset"])
		self.history.note("check", p=line.number, gid=gid, uniq=uniq, generation=int(tokens[0]) & 0xFF)
		m = self.by_uniq.get(uniq)
		said = self.truth.get(gid)
		if said is None and m is not None and m.repeats:
			m.late.append((uniq, gid, tokens))	# "no such order", said much too late
			return
		if self.random.random() < self.settings.unknown:
			said = UNKNOWN
		elif said is None:	# it has not begun, and from now on it never will
			said = self.truth[gid] = ROLLBACK
		self.decide(line, "answer", gid, tokens, said, uniq, None, True)
