"""syscalls.py -- the daemon dies at, or gets an error from, every single call of its journal to the kernel.

One script of half-sends, decisions, repeats and contradictions runs against a journal that already has
some segments, so that a start recovers, rolls and reclaims; it is large enough to roll once more.
For each kind of call the journal makes, strace kills the daemon at the n-th one, or lets it fail with
EIO or ENOSPC, for n = 1, 1 + COUNT, ... until the script is over before the n-th call.  After
each: a start without faults, every transaction decided and said again, and the judge.

  killed   whatever was answered is there, whatever was not may be
  EIO      of a write or a sync: the daemon ends at once, with its status for that
  ENOSPC   while a spare is made: it goes on
           Otherwise it goes on or ends with that status, and in any case nothing is lost

The calls are counted for each thread, as strace does.
"""

import os
import shutil
import signal
import time

import history
import judge
import lab
import producers
import remoting
import stage

CALLS = ("pwritev", "fdatasync", "pwrite64", "fallocate", "fsync", "renameat", "unlinkat", "openat")
MANY = ("pwritev", "fdatasync", "openat")	# enough to begin with any of the first
FAULTS = {"kill": "signal=KILL", "eio": "error=EIO", "enospc": "error=ENOSPC"}
NOT_STARTED, FAILED_DISK = 2, 3
GROUP, TOPIC = "script", "left"
BIG = 200_000


class Gone(Exception):
	"""The daemon is not there any more."""


class Script:
	"""One producer, one thing after the other; it writes the history of its own."""

	def __init__(self, address, book, tag, truth, tokens):
		self.book, self.tag = book, tag
		self.truth, self.tokens = truth, tokens
		self.count = 0
		try:
			self.peer = remoting.Peer(address)
		except OSError:
			raise Gone from None

	def ask(self, op, code, ext, body=b""):
		self.peer.send(code, ext, body)
		return self.told(op)

	def told(self, op):
		try:
			return self.peer.read()
		except (remoting.Closed, remoting.Silence):
			self.book.note("info", op=op, why="closed")
			raise Gone from None

	def send_half(self, uniq, body):
		op = self.book.invoke("half", p=0, uniq=uniq, topic=TOPIC, key="k", crc=producers.zlib.crc32(body))
		props = [("TRAN_MSG", "true"), ("PGROUP", GROUP), ("UNIQ_KEY", uniq), ("KEYS", "k")]
		try:
			self.peer.send(10, self.peer.half_fields(GROUP, TOPIC, props), body)
		except remoting.Closed:
			self.book.note("info", op=op, why="closed")
			raise Gone from None
		return op

	def half_told(self, op, decision):
		answer = self.told(op)
		if answer.code != 0:
			self.book.note("fail", op=op, code=answer.code, remark=answer.remark)
			return None
		gid = answer.ext["transactionId"]
		self.book.note("ok", op=op, gid=gid)
		self.truth.setdefault(gid, decision)
		self.tokens[gid] = (answer.ext["queueOffset"], str(int(answer.ext["msgId"][-16:], 16)))
		return gid

	def name(self):
		self.count += 1
		return "%s%024X" % (self.tag, self.count)

	def half(self, decision, uniq=None, body=b"a body"):
		return self.half_told(self.send_half(uniq or self.name(), body), decision)

	def send_end(self, gid, said):
		op = self.book.invoke(said, p=0, uniq="", gid=gid)
		tokens = self.tokens[gid]
		try:
			self.peer.send(37, {"producerGroup": GROUP, "tranStateTableOffset": tokens[0], "commitLogOffset": tokens[1],
					    "commitOrRollback": str(producers.CODE[said]), "fromTransactionCheck": "false",
					    "msgId": "", "transactionId": gid})
		except remoting.Closed:
			self.book.note("info", op=op, why="closed")
			raise Gone from None
		return op

	def end_told(self, op):
		answer = self.told(op)
		if answer.code == 0:
			self.book.note("ok", op=op)
		else:
			winner = answer.remark.split(": ")[1] if answer.code == producers.DECIDED else None
			self.book.note("fail", op=op, code=answer.code, remark=answer.remark, **({"winner": winner} if winner else {}))

	def end(self, gid, said):
		if gid:
			self.end_told(self.send_end(gid, said))

	def both(self, decision, **half):
		self.end(self.half(decision, **half), decision)

	def together(self, n):
		"""Several in one write of the journal."""
		ops = [self.send_half(self.name(), b"one of %d" % n) for _ in range(n)]
		gids = [self.half_told(op, "commit" if i % 2 else "rollback") for i, op in enumerate(ops)]
		ops = [self.send_end(gid, self.truth[gid]) for gid in gids if gid]
		for op in ops:
			self.end_told(op)

	def prepare(self):
		"""What a journal may hold already: decided and undecided ones, in several segments."""
		self.both("commit")
		self.both("rollback")
		self.half("commit")
		self.half("rollback")

	def play(self):
		for _ in range(3):
			self.both("commit")
			self.both("rollback")
		self.together(6)
		self.half("commit")		# silent
		again = self.name()
		gid = self.half("commit", again)
		self.half("commit", again)	# the next generation
		self.half("commit", again, b"another body")
		self.end(gid, "commit")
		self.end(gid, "commit")
		self.end(gid, "rollback")
		for _ in range(17):		# the segment is full, and the next one begun
			self.both("rollback", body=bytes(BIG))
		for old in list(self.truth)[:3]:	# from before the start
			self.end(old, self.truth[old])
		self.together(4)


class Sweep:
	def __init__(self, args, folder):
		self.args, self.folder = args, folder
		self.kafka = lab.Mockd(args.mockd, [])
		self.kafka.tell("topic %s 1" % TOPIC)
		self.topics = lab.Topics(args.topics, self.kafka.address)
		self.address = "127.0.0.1:%d" % lab.free_port()
		self.base, self.work = folder / "base", folder / "work"
		self.number = 0
		self.truth, self.tokens = {}, {}
		self.prepare()

	def daemon(self, data):
		return lab.Daemon(self.args.daemon, self.folder / "daemon", kafka__bootstrap__servers=self.kafka.address,
				  kafka__max__in__flight=1, listen__address=self.address, data__dir=data, limits__message="256KiB",
				  journal__segment="3MiB", journal__quota="24MiB", check__immunity="100ms", check__interval="100ms",
				  check__backoff="1", check__max="1000000", idempotency__window="1h")

	def prepare(self):
		book = history.History(self.folder / "base.jsonl")
		for n in range(5):
			daemon = self.daemon(self.base)
			daemon.start()
			Script(self.address, book, "%08X" % (0xBA5E0000 + n), self.truth, self.tokens).prepare()
			lab.until("all is published", lambda: daemon.metric("escrow_publish_pending") == 0)
			daemon.kill()
		book.close()
		for spare in self.base.glob("spare-*"):	# the next start has to make them
			spare.unlink()
		for name in ("spare-000097.new", "spare-000098.seg", "spare-000099.seg"):
			(self.base / name).touch()	# one unfinished, and two of a wrong size
		self.base_ops = book.ops
		# Each sweep goes on from here, so what the ones before published is none of its business.
		self.base_end = self.end_before = self.topics.count(TOPIC)
		self.base_lines = (self.folder / "base.jsonl").read_text()

	def one(self, call, fault, n):
		"""False when the script was over before the n-th call."""
		self.number += 1
		shutil.rmtree(self.work, ignore_errors=True)
		shutil.copytree(self.base, self.work)
		path = self.folder / "history.jsonl"
		book = history.History(path)
		book.file.write(self.base_lines)
		book.ops = self.base_ops
		truth, tokens = dict(self.truth), dict(self.tokens)
		daemon = self.daemon(self.work)
		trace = self.folder / "strace.out"
		trace.write_bytes(b"")
		book.note("plan", seed=self.number, need={"commit": 1})
		book.note("fault", kind=fault)
		try:
			daemon.launch(wrapper=["strace", "-D", "-f", "-qq", "-y", "-o", str(trace), "-e", "trace=" + call,
					       "-e", "inject=%s:%s:when=%d" % (call, FAULTS[fault], n)])
			lab.until("it started or ended", lambda: daemon.is_ready() or not daemon.running(), 30, 0.003)
			started = daemon.is_ready()
			try:
				if started:
					Script(self.address, book, "%08X" % self.number, truth, tokens).play()
			except Gone:
				lab.until("it has ended", lambda: not daemon.running(), 5, 0.002)
			hit = self.verdict(daemon, trace, call, fault, n, started)
		finally:
			daemon.kill()
		book.note("healed", kind=fault, effective=bool(hit))
		self.check(book, truth, tokens, path, "%s at %s %d" % (fault, call, n))
		return hit

	def verdict(self, daemon, trace, call, fault, n, started):
		"""Which file was hit, or None; and did it do what it says?"""
		status = daemon.process.poll()
		text = trace.read_bytes()
		if fault == "kill":
			if status is not None and status != -signal.SIGKILL:
				raise lab.Failed("kill at %s %d: it ended with %d: %s" % (call, n, status, daemon.last_words()))
			return "killed" if status is not None else None
		hit = [line for line in text.splitlines() if b"(INJECTED)" in line]
		if not hit:
			if status is not None:
				raise lab.Failed("%s at %s %d: it ended with %d and nothing was injected: %s"
						 % (fault, call, n, status, daemon.last_words()))
			return None
		where = hit[0].decode(errors="replace")
		ends = FAILED_DISK if started else NOT_STARTED
		if fault == "eio" and call in ("pwritev", "pwrite64", "fdatasync", "fsync"):
			allowed = {ends}
		elif fault == "enospc" and call in ("pwrite64", "fallocate") and started:
			allowed = {None}
		else:
			allowed = {None, ends}
		if status not in allowed:
			raise lab.Failed("%s at %s %d (%s): it %s, %s" % (fault, call, n, where, "goes on" if status is None
									else "ended with %d" % status, daemon.last_words()))
		return where

	def check(self, book, truth, tokens, path, what):
		daemon = self.daemon(self.work)
		daemon.start()
		asked = producers.Producers(self.address, book, self.number, group=GROUP)
		asked.pause()
		asked.truth, asked.tokens = truth, tokens
		asked.start()
		try:
			lab.until(what + ": every transaction is decided", lambda: daemon.undecided() == 0, 20, 0.01)
			asked.audit()
			lab.until(what + ": every decision was said again", asked.audited, 20, 0.005)
			lab.until(what + ": all is published", lambda: daemon.metric("escrow_publish_pending") == 0, 20, 0.01)
			undecided = int(daemon.undecided())
		finally:
			asked.end()
			daemon.kill()
		held = self.topics.dump(TOPIC, hashes=True)
		book.records(r for r in held if not self.base_end <= r["offset"] < self.end_before)
		self.end_before = max(r["offset"] for r in held) + 1
		book.note("end", undecided=undecided, pending=0)
		book.close()
		result = judge.judge(history.read(path))
		if result["verdict"] != "PASS":
			raise lab.Failed("%s: %s; examples %s" % (what, result["verdict"], result["examples"]))

	def first(self, call):
		"""The first of these calls that is the journal's: libraries are opened before."""
		shutil.rmtree(self.work, ignore_errors=True)
		shutil.copytree(self.base, self.work)
		daemon = self.daemon(self.work)
		trace = self.folder / "strace.out"
		daemon.start(wrapper=["strace", "-D", "-f", "-qq", "-y", "-o", str(trace), "-e", "trace=" + call])
		daemon.kill()
		lines = [l for l in trace.read_text(errors="replace").splitlines() if call + "(" in l]
		main = [l for l in lines if l.split()[0] == lines[0].split()[0]]
		return next(n for n, l in enumerate(main, 1) if str(self.work) in l)

	def sweep(self, call, fault):
		step = self.args.count
		n = self.first(call) if call == "openat" else 1
		n += self.args.seed % step if call in MANY else 0
		points, began = 0, time.monotonic()
		while self.one(call, fault, n):
			points += 1
			n += step
		if not points:
			raise lab.Failed("vacuous: no %s was ever hit by %s" % (call, fault))
		return {"verdict": "PASS", "seed": "%s of %s" % (fault, call), "effective": {fault: points},
			"points": {"%s %s" % (fault, call): points}, "sweep seconds": round(time.monotonic() - began, 1)}

	def end(self):
		self.kafka.kill()


def play(args, tally):
	if not shutil.which("strace"):
		raise lab.Skipped("strace is missing (apt-get install strace)")
	if not stage.quietly("strace", "-qq", "-o", os.devnull, "true"):
		raise lab.Skipped("strace may not trace here")
	for fault in FAULTS:
		calls = [call for call in CALLS if args.only in "%s %s" % (fault, call)]
		if not calls:
			continue
		folder = lab.Folder("torture-syscalls")
		s = Sweep(args, folder)
		try:
			for call in calls:
				tally.add("syscalls", s.sweep(call, fault))
		except BaseException:
			print("logs and history are in %s" % folder.path, flush=True)
			raise
		finally:
			s.end()
		folder.drop()
