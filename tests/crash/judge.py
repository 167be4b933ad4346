#!/usr/bin/env python3
"""judge -- a history against the promises; it knows nothing of the broker's inside.

Usage: tests/crash/judge.py HISTORY...     prints one JSON object for each; status 1 on a violation,
                                           or when the history has not shown what it planned

  lost          a commit that was answered and is not in Kafka; a half-send that was answered and
                that nobody knows any more
  phantom       a record that nobody half-sent so, or that nobody committed
  resurrected   a record of what was rolled back
  conflict      two decisions of one transaction; a decision that nobody asked for; a half-send
                answered with success although its transaction was decided
  disordered    of one key: a commit that was answered before the other's was asked for, and their
                first records come the other way round; or records not in the order of escrow-seq
  gap           an escrow-seq that a consumer would miss
  torn          a transaction of which a part is in Kafka
  doubled       one message under two ids, or one id under two numbers; anything twice when
                nothing was broken
  repeated      the same publication again after a fault: allowed, counted

`fail` means never and `info` may still happen: an operation counts as asked for from its invoke,
unless it failed; it counts as done from its ok.
"""

import bisect
import collections
import json
import sys

NEVER = float("inf")
RECENT = 2000	# commits before a kill that are looked at: what is older and unpublished is not counted
BAD = ("lost", "phantom", "resurrected", "conflict", "disordered", "gap", "torn", "doubled")
CONTRARY = {"commit": "rollback", "rollback": "commit"}
WINNER = {"committed": "commit", "rolled back": "rollback"}


class Message:
	"""One UNIQ_KEY."""
	__slots__ = ("what", "gids")

	def __init__(self):
		self.what = set()	# (topic, key, crc) of its half-sends that were not refused
		self.gids = {}		# those that it was answered with, in order


class Txn:
	"""One gid."""
	__slots__ = ("uniq", "half_ok", "asked", "done", "told", "records", "missing", "asks")

	def __init__(self):
		self.uniq = None
		self.half_ok = NEVER
		self.asked = {"commit": NEVER, "rollback": NEVER}	# first that was not refused
		self.done = {"commit": NEVER, "rollback": NEVER}	# first that was answered
		self.told = {}						# decision -> when first heard of
		self.records = []
		self.missing = False
		self.asks = 0


class Op:
	__slots__ = ("f", "said", "at", "ms", "uniq", "gid", "outcome", "end", "end_ms", "what")

	def __init__(self, line, at):
		self.f, self.said = line["f"], line.get("said", line["f"])
		self.at, self.ms = at, line["ms"]
		self.uniq, self.gid = line.get("uniq"), line.get("gid")
		self.outcome, self.end, self.end_ms = None, NEVER, NEVER
		self.what = (line.get("topic"), line.get("key"), line.get("crc"))


def percentiles(values):
	if not values:
		return {}
	values = sorted(values)
	return {name: round(values[min(len(values) - 1, int(len(values) * p))], 1)
		for name, p in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1))}


class Judge:
	def __init__(self, lines):
		self.found = collections.Counter()
		self.examples = collections.defaultdict(list)
		self.messages = collections.defaultdict(Message)
		self.txns = collections.defaultdict(Txn)
		self.ops = {}
		self.records = []
		self.faults, self.healed = [], []
		self.plan = self.end = None
		self.counts = collections.Counter()
		self.ok_times = []
		self.half_checks = collections.Counter()
		for at, line in enumerate(lines):
			getattr(self, "on_" + line["e"])(line, at)
		self.weigh()

	def bad(self, what, example):
		self.found[what] += 1
		if len(self.examples[what]) < 5:
			self.examples[what].append(str(example))

	# -- reading --------------------------------------------------------------------------

	def on_plan(self, line, _):
		self.plan = line

	def on_end(self, line, _):
		self.end = line

	def on_invoke(self, line, at):
		op = self.ops[line["op"]] = Op(line, at)
		self.counts[op.f + " invoked"] += 1

	def finish(self, line, at):
		op = self.ops[line["op"]]
		op.outcome, op.end, op.end_ms = line["e"], at, line["ms"]
		self.counts["%s %s" % (op.f, line["e"])] += 1
		return op

	def on_ok(self, line, at):
		op = self.finish(line, at)
		self.ok_times.append(line["ms"])
		if op.f == "half":
			op.gid = line["gid"]
			t = self.txns[op.gid]
			t.uniq = op.uniq
			t.half_ok = min(t.half_ok, at)
			self.messages[op.uniq].gids.setdefault(op.gid, at)
		elif line.get("stale"):
			op.said = "unknown"
			self.counts["stale"] += 1

	def on_fail(self, line, at):
		op = self.finish(line, at)
		self.counts["%s refused %d" % (op.f, line["code"])] += 1
		if op.f == "half":
			return
		t = self.txns[op.gid]
		if line["code"] == 1:
			t.missing = True
		if line.get("winner"):
			t.told.setdefault(WINNER[line["winner"]], at)

	def on_info(self, line, at):
		self.finish(line, at)

	def on_check(self, line, at):
		t = self.txns[line["gid"]]
		t.asks += 1
		self.counts["checks"] += 1
		if min(t.done.values()) < at:
			self.counts["stale checks"] += 1

	def on_fault(self, line, at):
		self.faults.append((line["kind"], at))

	def on_healed(self, line, _):
		at = next(at for kind, at in reversed(self.faults) if kind == line["kind"])
		self.healed.append((line, at))

	def on_record(self, line, _):
		self.records.append(line)

	# -- judging --------------------------------------------------------------------------

	def weigh(self):
		for op in self.ops.values():
			if op.f == "half" and op.outcome != "fail":
				self.messages[op.uniq].what.add(op.what)
			if op.f == "half" or op.said == "unknown":
				continue
			t = self.txns[op.gid]
			t.uniq = t.uniq or op.uniq
			if op.outcome != "fail":
				t.asked[op.said] = min(t.asked[op.said], op.at)
			if op.outcome == "ok":
				t.done[op.said] = min(t.done[op.said], op.end)
		self.records.sort(key=lambda r: (r["topic"], r["partition"], r["offset"]))
		for r in self.records:
			gid = r["id"].rpartition("-")[0] if r["id"] else None
			self.txns[gid].records.append(r)
		for gid, t in self.txns.items():
			self.decisions(gid, t)
			self.publication(gid, t)
		for op in self.ops.values():
			if op.f == "half" and op.outcome == "ok":
				t = self.txns[op.gid]
				for decision in ("commit", "rollback"):
					if min(t.done[decision], t.told.get(decision, NEVER)) < op.at:
						self.bad("conflict", "half-send of %s answered with success after its %s" % (op.gid, decision))
		self.identities()
		self.numbers()
		self.order()

	def decisions(self, gid, t):
		heard = [d for d in ("commit", "rollback") if t.done[d] < NEVER or d in t.told]
		if len(heard) == 2:
			self.bad("conflict", "%s was said to be committed and to be rolled back" % gid)
		for d in heard:
			if t.asked[d] == NEVER:
				self.bad("conflict", "%s: nobody asked for its %s" % (gid, d))
		if t.missing and t.half_ok < NEVER:
			self.bad("lost", "%s was half-sent, and is not known any more" % gid)

	def publication(self, gid, t):
		if not t.records:
			if t.done["commit"] < NEVER or "commit" in t.told:
				self.bad("lost", "%s (%s) is committed and not in Kafka" % (gid, t.uniq))
			return
		if t.done["rollback"] < NEVER or "rollback" in t.told:
			self.bad("resurrected", "%s (%s)" % (gid, t.uniq))
		if t.asked["commit"] == NEVER:
			self.bad("phantom", "%s (%s): nobody committed it" % (gid, t.records[0]["uniq"]))
		for r in t.records:
			if (r["topic"], r["key"], r["crc"]) not in self.messages[r["uniq"]].what:
				self.bad("phantom", "%s/%d@%d: %s was never half-sent so" % (r["topic"], r["partition"], r["offset"], r["uniq"]))
		if t.uniq is not None and any(r["uniq"] != t.uniq for r in t.records):
			self.bad("phantom", "%s is %s, but was half-sent as %s" % (gid, t.records[0]["uniq"], t.uniq))
		if len({r["id"] for r in t.records}) != t.records[0]["size"]:
			self.bad("torn", "%s has %d messages, not %d" % (gid, len({r["id"] for r in t.records}), t.records[0]["size"]))

	def identities(self):
		places, ids = collections.defaultdict(set), collections.defaultdict(set)
		for r in self.records:
			places[r["id"]].add((r["topic"], r["partition"], r["seq"]))
			ids[r["uniq"]].add(r["id"])
		for name, where in places.items():
			if len(where) > 1:
				self.bad("doubled", "%s is at %s" % (name, sorted(where)))
		for uniq, names in ids.items():
			if len(names) > 1:
				self.bad("doubled", "%s is %s" % (uniq, sorted(map(str, names))))
		for uniq, m in self.messages.items():
			for gid in list(m.gids)[:-1]:	# a later one was begun, so this one must be rolled back
				if self.txns[gid].asked["rollback"] == NEVER:
					self.bad("doubled", "%s was begun again as %s" % (gid, list(m.gids)[-1]))

	def numbers(self):
		"""First records come in the order of escrow-seq, without a gap; what is repeated was there before."""
		lanes = collections.defaultdict(list)
		for r in self.records:
			journal, _, n = (r["seq"] or ":0").partition(":")
			lanes[r["topic"], r["partition"], journal].append(int(n))
		run = longest = 0
		for lane, numbers in lanes.items():
			seen, last = set(), 0
			for n in numbers:
				if n in seen:
					self.found["repeated"] += 1
					run += 1
					longest = max(longest, run)
					continue
				run = 0
				seen.add(n)
				if n < last:
					self.bad("disordered", "%s/%d %s: %d behind %d" % (*lane, n, last))
				last = max(n, last)
			for n in sorted(set(range(1, last + 1)) - seen):
				self.bad("gap", "%s/%d %s:%d" % (*lane, n))
		self.counts["longest repeated run"] = longest
		if self.found["repeated"] and not self.faults:
			self.bad("doubled", "%d records are repeated, and nothing was broken" % self.found["repeated"])

	def order(self):
		by_key = collections.defaultdict(list)
		for gid, t in self.txns.items():
			if t.records:
				r = t.records[0]
				by_key[r["topic"], r["partition"], r["key"]].append((r["offset"], gid, t))
		for lane in by_key.values():
			lane.sort(key=lambda entry: entry[0], reverse=True)
			earliest, behind = NEVER, None
			for _, gid, t in lane:
				if earliest < t.asked["commit"]:
					self.bad("disordered", "%s stands before %s, whose commit was answered before its own was asked for"
						 % (gid, behind))
				done = min(t.done["commit"], t.told.get("commit", NEVER))
				if done < earliest:
					earliest, behind = done, gid

	# -- what it was worth ------------------------------------------------------------------

	def intervals(self):
		"""Sorted once for all kills: what damage() counts by."""
		began, ended, self.committed = [], [], []
		for t in self.txns.values():
			decided = min(*t.done.values(), *t.asked.values(), *t.told.values())
			if t.half_ok < decided:
				began.append(t.half_ok)
				ended.append(decided)
			if t.done["commit"] < NEVER and t.records:
				self.committed.append((t.done["commit"], t.records[0]))
		self.began, self.ended = sorted(began), sorted(ended)
		self.committed.sort(key=lambda c: c[0])
		self.unheard = [op for op in self.ops.values() if op.outcome == "info"]

	def damage(self, ends, at):
		"""What a kill interrupted: a half undecided, an operation under way, a commit not yet in Kafka."""
		latest = bisect.bisect_left(self.committed, at, key=lambda c: c[0])
		return {"undecided": bisect.bisect_left(self.began, at) - bisect.bisect_left(self.ended, at),
			"in flight": sum(op.at < at < op.end for op in self.unheard),
			"unpublished": sum(r["offset"] >= ends["%s/%d" % (r["topic"], r["partition"])]
					   for _, r in self.committed[max(0, latest - RECENT):latest])}

	def result(self):
		effective, injected = collections.Counter(), collections.Counter()
		damages = []
		self.intervals()
		for kind, _ in self.faults:
			injected[kind] += 1
		for line, at in self.healed:
			hurt = bool(line.get("effective", True))
			if "ends" in line:
				damages.append(self.damage(line["ends"], at))
				hurt = hurt and all(damages[-1].values())
			effective[line["kind"]] += hurt
		counts = dict(sorted(self.counts.items()))
		ambiguous = sum(n for name, n in counts.items() if name.endswith(" info"))
		have = collections.Counter(effective)
		have.update({"ambiguous": ambiguous, "rollback": counts.get("rollback ok", 0), "commit": counts.get("commit ok", 0),
			     "answer": counts.get("answer ok", 0), "stale": counts.get("stale", 0), "record": len(self.records)})
		reasons = ["%s: %d" % (name, self.found[name]) for name in BAD if self.found[name]]
		if self.plan is None:
			reasons.append("it had no plan")
		else:
			for name, n in self.plan["need"].items():
				if have[name] < n:
					reasons.append("vacuous: %s %d times, not %d" % (name, have[name], n))
		if self.end is None:
			reasons.append("it has no end")
		elif self.end["undecided"] or self.end["pending"]:
			reasons.append("it did not come to rest: %d undecided, %d not published" % (self.end["undecided"], self.end["pending"]))
		for gid, t in self.txns.items():
			if t.half_ok < NEVER and not t.told and min(t.done.values()) == NEVER and not t.missing:
				reasons.append("nobody was told what became of %s" % gid)
				break
		return {"verdict": "FAIL: " + ", ".join(reasons) if reasons else "PASS",
			"seed": self.plan and self.plan.get("seed"), "operations": counts, "ambiguous": ambiguous,
			"how they ended": self.ambiguous_ends(), "faults": dict(injected), "effective": dict(effective),
			**{name: self.found[name] for name in (*BAD, "repeated")},
			"records": len(self.records), "keys": len({r["key"] for r in self.records}),
			"damage": {name: sum(d[name] for d in damages) for name in (damages[0] if damages else ())},
			"milliseconds": self.times(), "examples": dict(self.examples)}

	def ambiguous_ends(self):
		ends = collections.Counter()
		for op in self.ops.values():
			if op.outcome != "info":
				continue
			t = self.txns[op.gid] if op.gid else None
			if op.f == "half":
				gids = self.messages[op.uniq].gids
				ends["half: answered later" if gids else "half: dropped by who sent it"] += 1
			elif op.said != "unknown":
				won = t.done[op.said] < NEVER or op.said in t.told
				ends["%s: %s" % (op.f, "took effect or was repeated" if won else "did not")] += 1
		return dict(ends)

	def times(self):
		took = collections.defaultdict(list)
		for op in self.ops.values():
			if op.outcome == "ok":
				took[op.f].append(op.end_ms - op.ms)
		times = {f: percentiles(values) for f, values in sorted(took.items())}
		gaps = [b - a for a, b in zip(self.ok_times, self.ok_times[1:])]
		if gaps:
			times["longest without an answer"] = round(max(gaps), 1)
		back = collections.defaultdict(list)
		for line, _ in self.healed:
			following = bisect.bisect_right(self.ok_times, line["ms"])
			if following < len(self.ok_times):
				back[line["kind"]].append(self.ok_times[following] - line["ms"])
		times["back after"] = {kind: percentiles(values) for kind, values in back.items()}
		return times


def judge(lines):
	return Judge(lines).result()


def main():
	sys.dont_write_bytecode = True
	import history
	failed = False
	if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
		print(__doc__)
		return 2
	for path in sys.argv[1:]:
		result = judge(history.read(path))
		print(json.dumps(result))
		failed |= result["verdict"] != "PASS"
	return 1 if failed else 0


if __name__ == "__main__":
	sys.exit(main())
