"""checker.py -- what producers were promised against what Kafka holds.

Input: the lines of the loads' logs (tests/bench/README.md), the records of Kafka, the kills.
A pure function of these, so that test_checker.py can feed it lies and see it object.

  lost          a commit that was answered, or a half-send that was answered and is meant to be
                committed, and no record; or a gap in an `escrow-seq`
  resurrected   a record of a message that is meant to be rolled back
  foreign       a record that no producer sent, or with another body, key or topic
  doubled       one message under two `escrow-id`s, or one `escrow-id` with two `escrow-seq`s
  disordered    of one key: commits that their producer had answered one after the other, and whose
                records come the other way round.  Silent ones are decided by checks in any order
  repeated      the same publication twice after a crash: allowed, counted
"""

import base64
import collections

PRODUCER = 22	# of a UNIQ_KEY: the load's run and the producer's number; the rest is its count


class Kill:
	def __init__(self, victim, at_ms, answered_until_ms, ends):
		self.victim, self.at_ms, self.ends = victim, at_ms, ends
		self.answered_until_ms = answered_until_ms	# what was answered till here was answered before


class Record:
	def __init__(self, r):
		headers = {name: base64.b64decode(value).decode() for name, value in r["headers"]}
		self.uniq = headers.get("UNIQ_KEY")
		self.id = headers.get("escrow-id")
		self.journal, _, n = headers.get("escrow-seq", ":0").partition(":")
		self.seq = int(n)
		self.key = base64.b64decode(r["key"]).decode() if r["key"] is not None else None
		self.topic, self.partition, self.offset, self.crc = r["topic"], r["partition"], r["offset"], r["crc"]


def check(logs, raw, kills):
	lines = [line for log in logs for line in log]
	sent = {}	# what each producer meant by a UNIQ_KEY
	halves, commits = {}, {}
	decided_ms, asked = {}, set()
	for line in lines:
		if line["e"] == "check":
			if line["said"] == 8:
				asked.add(line["uniq"])
			if line["said"]:
				decided_ms.setdefault(line["uniq"], line["ms"])
			continue
		sent[line["uniq"]] = line
		if line["e"] == "half":
			halves.setdefault(line["uniq"], line)
		elif line["e"] in ("commit", "rollback"):
			decided_ms[line["uniq"]] = line["ms"]
			if line["uniq"] in halves:
				halves[line["uniq"]]["ended"] = True
			if line["e"] == "commit":
				commits[line["uniq"]] = line

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
		line = sent.get(r.uniq)
		if line is None:
			if r.uniq not in asked:		# its producer never had an answer, but confirmed it when asked
				note("foreign", "%s at %s/%d@%d" % (r.uniq, r.topic, r.partition, r.offset))
		elif line["truth"] != "commit":
			note("resurrected", r.uniq)
		elif (line["crc"], line["topic"], line.get("key")) != (r.crc, r.topic, r.key):
			note("foreign", "%s has another body, topic or key" % r.uniq)
	by_uniq = {r.uniq: r for r in first.values()}
	for uniq, line in halves.items():
		if line["truth"] == "commit" and uniq not in by_uniq:
			note("lost", "%s %s" % ("commit answered:" if uniq in commits else "half answered:", uniq))
	for uniq, found_ids in ids.items():
		if len(found_ids) > 1:
			note("doubled", "%s is %s" % (uniq, sorted(map(str, found_ids))))
	for escrow_id, places in seqs.items():
		if len(places) > 1:
			note("doubled", "%s is at %s" % (escrow_id, sorted(places)))
	gaps(first.values(), note)
	order(first.values(), commits, halves, note)

	counted = [damage(kill, halves, commits, decided_ms, by_uniq) for kill in kills]
	result = {
		"kills": len(kills),
		"kills_of_daemon": sum(k.victim == "daemon" for k in kills),
		"kills_of_kafka": sum(k.victim == "kafka" for k in kills),
		"kills_that_count": sum(all(c.values()) for c in counted),
		"undecided_at_kill": [c["undecided"] for c in counted],
		"unpublished_at_kill": [c["unpublished"] for c in counted],
		"ends_in_flight_at_kill": [c["in_flight"] for c in counted],
		"halves_answered": len(halves),
		"commits_answered": len(commits),
		"decided_by_check": sum(1 for u in decided_ms if u not in commits and u in asked),
		"records": len(records),
		"keys": len({r.key for r in records}),
	}
	bad = {name: found[name] for name in ("lost", "resurrected", "foreign", "doubled", "disordered", "gaps")}
	result.update(bad, repeated=found["repeated"], examples=examples)
	reasons = [name for name, n in bad.items() if n]
	if not commits or not records:
		reasons.append("nothing was committed")
	if kills and result["keys"] < 100:
		reasons.append("fewer than 100 keys")
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


def order(records, commits, halves, note):
	"""Of one key: what a producer counted, and what ended before the other was even half-sent."""
	by_key = collections.defaultdict(list)
	for r in records:
		if r.uniq in commits and r.uniq in halves:	# the others were decided by a check, at any time
			by_key[r.topic, r.partition, r.key].append(r)
	for lane in by_key.values():
		lane.sort(key=lambda r: r.offset)
		last, earliest = {}, float("inf")
		for r in lane:
			producer = r.uniq[:PRODUCER]
			if commits[r.uniq]["n"] < last.get(producer, 0):
				note("disordered", "%s behind n %d" % (r.uniq, last[producer]))
			last[producer] = commits[r.uniq]["n"]
		for r in reversed(lane):
			if halves[r.uniq]["ms"] > earliest:
				note("disordered", "%s is before one that was committed at %d" % (r.uniq, earliest))
			earliest = min(earliest, commits[r.uniq]["ms"])


def damage(kill, halves, commits, decided_ms, by_uniq):
	"""What this kill interrupted: see run."""
	until = kill.answered_until_ms
	undecided = in_flight = 0
	for uniq, half in halves.items():
		if half["ms"] > until or decided_ms.get(uniq, float("inf")) <= until:
			continue
		if half.get("ended"):
			in_flight += 1		# END was sent, its answer came after the restart
		else:
			undecided += 1		# silent: a check decided it later
	unpublished = 0
	for uniq, commit in commits.items():
		r = by_uniq.get(uniq)
		if commit["ms"] <= until and r and r.offset >= kill.ends[r.topic, r.partition]:
			unpublished += 1
	return {"undecided": undecided, "unpublished": unpublished, "in_flight": in_flight}
