"""checker.py -- what producers were promised against what Kafka holds.

Input: the lines of the loads' logs (tests/bench/README.md), the records of Kafka, the kills.
A pure function of these, so that test_checker.py can feed it lies and see it object.

  lost          a commit that was answered, or a half-send that was answered and is meant to be
                committed, and no record; or a gap in an `escrow-seq`
  resurrected   a record of a message that is meant to be rolled back
  foreign       a record that no producer sent, or with another body, key or topic
  doubled       one message under two `escrow-id`s, or one `escrow-id` with two `escrow-seq`s
  disordered    of one key: a commit that was answered before another was said, and whose record
                comes behind that one's.  Silent ones are decided by checks in any order
  repeated      the same publication twice after a crash: allowed, counted
"""

import base64
import collections

SLACK_MS = 50	# a load reads its clock once a turn, before it reads its answers
ROLLBACK = 12	# commitOrRollback
LOAD = 16	# of a UNIQ_KEY: the load's run
PRODUCER = 22	# of a UNIQ_KEY: the load's run and the producer's number; the rest is its count


class Kill:
	def __init__(self, victim, at_ms, answered_until_ms, ends):
		self.victim, self.at_ms, self.ends = victim, at_ms, ends
		self.answered_until_ms = answered_until_ms	# what was answered till here was answered before


class Record:
	__slots__ = ("uniq", "id", "journal", "seq", "key", "topic", "partition", "offset", "crc")

	def __init__(self, r):
		headers = {name: base64.b64decode(value).decode() for name, value in r["headers"]}
		self.uniq = headers.get("UNIQ_KEY")
		self.id = headers.get("escrow-id")
		self.journal, _, n = headers.get("escrow-seq", ":0").partition(":")
		self.seq = int(n)
		self.key = base64.b64decode(r["key"]).decode() if r["key"] is not None else None
		self.topic, self.partition, self.offset, self.crc = r["topic"], r["partition"], r["offset"], r["crc"]


class Message:
	"""What a producer meant by one UNIQ_KEY, and when it was answered what."""
	__slots__ = ("uniq", "topic", "crc", "truth", "n", "key", "half_ms", "end_ms", "committed", "asked_ms", "said",
		     "half_at", "said_at", "end_at")

	def __init__(self, uniq):
		self.uniq = uniq
		self.truth = self.half_ms = self.end_ms = self.asked_ms = self.said = None
		self.committed = False	# END commit was answered

	def hear(self, line):
		if line["e"] == "check":
			if line["said"] and self.asked_ms is None:
				self.asked_ms, self.said = line["ms"], line["said"]
			return
		self.topic, self.crc, self.truth = line["topic"], line["crc"], line["truth"]
		self.n, self.key = line["n"], line.get("key")
		if line["e"] == "half" and self.half_ms is None:
			self.half_ms, self.half_at = line["ms"], line["at"]
		elif line["e"] in ("commit", "rollback"):
			self.end_ms, self.committed = line["ms"], line["e"] == "commit"
			self.said_at, self.end_at = line["said_at"], line["at"]


def listen(logs):
	messages = {}
	for log in logs:
		for line in log:
			m = messages.get(line["uniq"])
			if m is None:
				m = messages[line["uniq"]] = Message(line["uniq"])
			m.hear(line)
	return messages


def check(logs, raw, kills):
	messages = listen(logs)
	records = sorted((Record(r) for r in raw), key=lambda r: (r.topic, r.partition, r.offset))
	first = {}
	ids, seqs = collections.defaultdict(set), collections.defaultdict(set)
	found = collections.Counter()
	examples = collections.defaultdict(list)

	def note(what, example):
		found[what] += 1
		if len(examples[what]) < 5:
			examples[what].append(str(example))

	for r in records:
		ids[r.uniq].add(r.id)
		seqs[r.id].add((r.topic, r.partition, r.journal, r.seq))
		if r.id in first:
			found["repeated"] += 1
			continue
		first[r.id] = r
		m = messages.get(r.uniq)
		if m is None or (m.truth is None and m.said is None):
			note("foreign", "%s at %s/%d@%d" % (r.uniq, r.topic, r.partition, r.offset))
		elif m.truth == "rollback" or m.said == ROLLBACK:
			note("resurrected", r.uniq)
		elif m.truth is None:
			pass	# its half-send was never answered, but it was confirmed when asked
		elif (m.crc, m.topic, m.key) != (r.crc, r.topic, r.key):
			note("foreign", "%s has another body, topic or key" % r.uniq)
	by_uniq = {r.uniq: r for r in first.values()}
	halves = [m for m in messages.values() if m.half_ms is not None]
	for m in halves:
		if m.truth == "commit" and m.uniq not in by_uniq:
			note("lost", "%s %s" % ("commit answered:" if m.committed else "half answered:", m.uniq))
	for uniq, found_ids in ids.items():
		if len(found_ids) > 1:
			note("doubled", "%s is %s" % (uniq, sorted(map(str, found_ids))))
	for escrow_id, places in seqs.items():
		if len(places) > 1:
			note("doubled", "%s is at %s" % (escrow_id, sorted(places)))
	gaps(first.values(), note)
	overlapped = order(first.values(), messages, note)

	counted = [damage(kill, halves, by_uniq) for kill in kills]
	commits = sum(m.committed for m in halves)
	result = {
		"kills": len(kills),
		"kills_of_daemon": sum(k.victim == "daemon" for k in kills),
		"kills_of_kafka": sum(k.victim == "kafka" for k in kills),
		"kills_that_count": sum(all(c.values()) for c in counted),
		"undecided_at_kill": [c["undecided"] for c in counted],
		"unpublished_at_kill": [c["unpublished"] for c in counted],
		"ends_in_flight_at_kill": [c["in_flight"] for c in counted],
		"halves_answered": len(halves),
		"commits_answered": commits,
		"decided_by_check": sum(m.end_ms is None and m.asked_ms is not None for m in messages.values()),
		"records": len(records),
		"keys": len({r.key for r in records}),
		"keys_with_overlap": overlapped,
	}
	bad = {name: found[name] for name in ("lost", "resurrected", "foreign", "doubled", "disordered", "gaps")}
	result.update(bad, repeated=found["repeated"], examples=examples)
	reasons = [name for name, n in bad.items() if n]
	if not commits or not records:
		reasons.append("nothing was committed")
	if kills and overlapped < 100:
		reasons.append("fewer than 100 keys with transactions that overlapped")
	if 2 * result["kills_that_count"] < len(kills):
		reasons.append("fewer than half of the kills count")
	result["verdict"] = "PASS" if not reasons else "FAIL: " + ", ".join(reasons)
	return result


def gaps(records, note):
	"""The n of a journal and partition are contiguous: a consumer would see a hole."""
	lanes = collections.defaultdict(list)
	for r in records:
		lanes[r.topic, r.partition, r.journal].append(r.seq)
	for lane, numbers in lanes.items():
		missing = set(range(min(numbers), max(numbers) + 1)) - set(numbers)
		for n in sorted(missing):
			note("gaps", "%s/%d %s:%d" % (*lane, n))
		if min(numbers) > 1:
			note("gaps", "%s/%d %s begins with %d" % (*lane, min(numbers)))


def order(records, messages, note):
	"""
	Of one key: what a producer counted; of one load, which counts what it says and hears, a commit that was answered
	before another was said; of two loads, one that ended before the other was even half-sent.  How many keys had
	transactions that overlapped: without them little was shown.
	"""
	by_key = collections.defaultdict(list)
	overlapped = set()
	for r in records:
		m = messages.get(r.uniq)
		if m and m.committed and m.half_ms is not None:	# the others were decided by a check, at any time
			by_key[r.topic, r.partition, r.key].append((r.offset, m))
	for (_, _, key), lane in by_key.items():
		lane.sort(key=lambda pair: pair[0])
		last, heard = {}, {}
		for _, m in lane:
			producer = m.uniq[:PRODUCER]
			if m.n < last.get(producer, 0):
				note("disordered", "%s behind n %d" % (m.uniq, last[producer]))
			last[producer] = m.n
			if m.half_at < heard.get(m.uniq[:LOAD], 0):
				overlapped.add(key)
			heard[m.uniq[:LOAD]] = m.end_at
		earliest, answered = float("inf"), {}
		for _, m in reversed(lane):
			load = m.uniq[:LOAD]
			if m.said_at > answered.get(load, float("inf")):
				note("disordered", "%s, said after the END of one behind it was answered" % m.uniq)
			answered[load] = min(answered.get(load, m.end_at), m.end_at)
			if m.half_ms > earliest + SLACK_MS:
				note("disordered", "%s, half-sent %d ms after the END of one behind it was answered"
				     % (m.uniq, m.half_ms - earliest))
			earliest = min(earliest, m.end_ms)
	return len(overlapped)


def damage(kill, halves, by_uniq):
	"""What this kill interrupted: see run."""
	until = kill.answered_until_ms
	undecided = in_flight = unpublished = 0
	for m in halves:
		if m.half_ms > until:
			continue
		if m.end_ms is None:	# silent: a check decided it, perhaps later
			undecided += m.asked_ms is None or m.asked_ms > until
		elif m.end_ms > until:	# END was sent, its answer came after the restart
			in_flight += 1
		elif m.committed:
			r = by_uniq.get(m.uniq)
			unpublished += r is not None and r.offset >= kill.ends[r.topic, r.partition]
	return {"undecided": undecided, "unpublished": unpublished, "in_flight": in_flight}
