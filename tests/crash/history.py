"""history.py -- what was asked, what was answered, and what Kafka holds: JSON lines.

A history is all that the judge gets.  It is written by the outside alone: by producers, by whoever
reads Kafka, by whoever breaks things.  Its order is the order of real time: an `invoke` is written
before its first byte is sent, an outcome after its last byte was read.

  {"e": "plan", "seed": 7, "need": {"kill": 5, "ambiguous": 20, "rollback": 20, "answer": 5}}
        first: how often what must have happened at the end, or the run has shown nothing
  {"e": "invoke", "op": 1, "f": "half", "p": 3, "uniq": "..", "topic": "t", "key": "k", "crc": 1}
  {"e": "invoke", "op": 2, "f": "commit" | "rollback", "p": 3, "uniq": "..", "gid": ".."}
  {"e": "invoke", "op": 3, "f": "answer", "said": "commit" | "rollback" | "unknown", ...}
        a half-send, a decision, the answer to a check
  {"e": "ok", "op": 1, "gid": ".."}      it happened; "stale": true when it counted as unknown
  {"e": "fail", "op": 2, "code": 4, "winner": "rolled back"}
        it did not and never will; the winner where the answer names one
  {"e": "info", "op": 1, "why": "closed"}        nobody knows, and nobody ever will
  {"e": "check", "uniq": "..", "gid": "..", "generation": 0}
        a check arrived
  {"e": "fault", "kind": "kill"}         something is broken from here on
  {"e": "healed", "kind": "kill", "effective": true, "ends": {"t/0": 12}}
        it was mended.  "effective" is said by who broke it, where the outside cannot see it.  "ends":
        what Kafka held before it was mended; from that the judge finds out itself
  {"e": "record", "topic": "t", "partition": 0, "offset": 0, "crc": 1, "key": "k", "uniq": "..",
   "id": "<gid>-0", "seq": "<journal>:1", "size": 1}
  {"e": "end", "undecided": 0, "pending": 0}     last: all was mended, and all came to rest

Each line has "ms", a monotonic clock.
"""

import base64
import json
import threading
import time


class History:
	"""Writes one; any thread may."""

	def __init__(self, path):
		self.path = path
		self.file = open(path, "w", encoding="utf-8", buffering=1 << 16)
		self.lock = threading.Lock()
		self.ops = 0

	def note(self, e, **fields):
		with self.lock:
			fields["ms"] = round(time.monotonic() * 1000, 1)
			self.file.write(json.dumps({"e": e, **fields}, separators=(",", ":")) + "\n")

	def invoke(self, f, **fields):
		"""The number of the operation."""
		with self.lock:
			self.ops += 1
			op = self.ops
		self.note("invoke", op=op, f=f, **fields)
		return op

	def records(self, dumped):
		"""What tests/interop/topics read from Kafka."""
		for r in dumped:
			headers = {name: base64.b64decode(value).decode() for name, value in r["headers"]}
			self.note("record", topic=r["topic"], partition=r["partition"], offset=r["offset"], crc=r["crc"],
				  key=base64.b64decode(r["key"]).decode() if r["key"] is not None else None,
				  uniq=headers.get("UNIQ_KEY"), id=headers.get("escrow-id"), seq=headers.get("escrow-seq"),
				  size=int(headers.get("escrow-txn-size", 1)))

	def close(self):
		self.file.close()


def read(path):
	with open(path, encoding="utf-8") as f:
		for line in f:
			yield json.loads(line)
