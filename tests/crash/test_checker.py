#!/usr/bin/env python3
"""A checker that never objects would let every loss through: here it is fed each of them."""

import base64
import pathlib
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import checker  # noqa: E402


def uniq(n):
	return "7F000001" + "ABCDEF01" + "000003" + "%010X" % n


def line(event, n, truth="commit", ms=None, at=None, said_at=None):
	at = at or 10 * n + (9 if event != "half" else 0)
	return {"e": event, "at": at, "said_at": said_at or (at - 1 if event != "half" else 0), "ms": ms if ms is not None else 10 * n, "gid": "%032x" % n, "uniq": uniq(n), "topic": "t",
		"crc": n, "truth": truth, "n": n, "key": "k0"}


def record(n, offset, seq=None, gid=None, crc=None):
	headers = {"UNIQ_KEY": uniq(n), "escrow-id": "%032x-0" % (gid or n), "escrow-seq": "aa:%d" % (seq or n)}
	return {"topic": "t", "partition": 0, "offset": offset, "crc": n if crc is None else crc,
		"key": base64.b64encode(b"k0").decode(),
		"headers": [[k, base64.b64encode(v.encode()).decode()] for k, v in headers.items()]}


class Checker(unittest.TestCase):
	def setUp(self):
		self.log = [l for n in (1, 2, 3) for l in (line("half", n), line("commit", n, ms=10 * n + 5))]
		self.log += [line("half", 4, "rollback"), line("rollback", 4, "rollback")]
		self.records = [record(n, n - 1) for n in (1, 2, 3)]

	def found(self, kills=()):
		return checker.check([self.log], self.records, list(kills))

	def test_all_is_well(self):
		self.assertEqual(self.found()["verdict"], "PASS")

	def test_lost(self):
		del self.records[2]
		self.assertEqual(self.found()["lost"], 1)

	def test_lost_in_the_middle_leaves_a_gap(self):
		del self.records[1]
		result = self.found()
		self.assertEqual((result["lost"], result["gaps"]), (1, 1))

	def test_silent_half_is_lost_too(self):
		self.log.append(line("half", 9))
		self.assertEqual(self.found()["lost"], 1)

	def test_resurrected(self):
		self.records.append(record(4, 3))
		self.assertEqual(self.found()["resurrected"], 1)

	def test_foreign(self):
		self.records.append(record(77, 3, seq=4))
		self.assertEqual(self.found()["foreign"], 1)

	def test_confirmed_by_check_is_not_foreign(self):
		self.log.append({"e": "check", "ms": 1, "gid": "", "uniq": uniq(77), "said": 8})
		self.records.append(record(77, 3, seq=4))
		self.assertEqual(self.found()["verdict"], "PASS")

	def test_denied_by_check_is_resurrected(self):
		self.log.append({"e": "check", "ms": 1, "gid": "", "uniq": uniq(77), "said": 12})
		self.records.append(record(77, 3, seq=4))
		self.assertEqual(self.found()["resurrected"], 1)

	def test_another_body(self):
		self.records[1] = record(2, 1, crc=99)
		self.assertEqual(self.found()["foreign"], 1)

	def test_doubled(self):
		self.records.append(record(3, 3, seq=4, gid=99))
		self.assertEqual(self.found()["doubled"], 1)

	def test_renumbered(self):
		self.records.append(record(3, 3, seq=4))
		self.assertEqual(self.found()["doubled"], 1)

	def test_repeated_is_counted_only(self):
		self.records.append(record(3, 3))
		result = self.found()
		self.assertEqual((result["verdict"], result["repeated"]), ("PASS", 1))

	def test_disordered(self):
		self.records = [record(1, 0), record(3, 1, seq=2), record(2, 2, seq=3)]
		self.assertGreater(self.found()["disordered"], 0)

	def other(self, n, half_at, said_at, end_at):
		"""A commit of another producer of this load."""
		told = [line("half", n, ms=32, at=half_at), line("commit", n, ms=40, at=end_at, said_at=said_at)]
		for l in told:
			l["uniq"] = uniq(n).replace("000003", "000004")
		self.log += told
		r = record(n, n - 1)
		r["headers"][0][1] = base64.b64encode(told[0]["uniq"].encode()).decode()
		return r

	def test_overlapping_ones_have_an_order_too(self):
		"""Half-sent while 3 was undecided, and committed after 3 was answered."""
		late = self.other(4, half_at=31, said_at=40, end_at=41)
		self.records.append(late)
		result = self.found()
		self.assertEqual((result["verdict"], result["keys_with_overlap"]), ("PASS", 1))
		self.records = self.records[:2] + [dict(late, offset=2), record(3, 3)]
		self.assertEqual(self.found()["disordered"], 1)

	def test_said_before_the_other_was_answered(self):
		"""Then either may be first."""
		late = self.other(4, half_at=31, said_at=38, end_at=50)
		self.records = self.records[:2] + [dict(late, offset=2), record(3, 3)]
		self.assertEqual(self.found()["verdict"], "PASS")

	def test_a_kill_counts_when_it_hurt(self):
		self.log += [line("half", 5, ms=60), line("half", 6, ms=61), line("commit", 6, ms=99)]
		self.records += [record(5, 3, seq=4), record(6, 4, seq=5)]
		hurt = checker.Kill("daemon", 70, 80, {("t", 0): 2})	# 5 silent, 6 in flight, 3 answered and not there
		idle = checker.Kill("daemon", 70, 80, {("t", 0): 3})
		self.assertEqual(checker.check([self.log], self.records, [hurt])["kills_that_count"], 1)
		self.assertEqual(checker.check([self.log], self.records, [idle])["kills_that_count"], 0)
		self.assertIn("fewer than half", checker.check([self.log], self.records, [idle])["verdict"])

	def test_an_empty_run_shows_nothing(self):
		self.assertNotEqual(checker.check([[]], [], [])["verdict"], "PASS")


if __name__ == "__main__":
	unittest.main()
