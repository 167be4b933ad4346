#!/usr/bin/env python3
"""A judge that never objects lets every loss through: here is a history of each, and it must object.

What the tests change is an honest history; each change is one lie that a broken broker would tell.
"""

import pathlib
import sys
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import judge  # noqa: E402


def gid(n):
	return "%032x" % n


class Book:
	"""Writes a history by hand."""

	def __init__(self, **need):
		self.lines = []
		self.ops = 0
		self.note("plan", seed=1, need=need)

	def note(self, e, **fields):
		self.lines.append({"e": e, "ms": 10.0 * len(self.lines), **fields})

	def ask(self, f, n, **more):
		self.ops += 1
		if f == "half":
			self.note("invoke", op=self.ops, f=f, p=0, uniq="u%d" % n, topic="t", key="k", crc=n)
		else:
			self.note("invoke", op=self.ops, f=f, p=0, uniq="u%d" % n, gid=more.pop("gid", gid(n)), **more)
		return self.ops

	def half(self, n, as_gid=None):
		self.note("ok", op=self.ask("half", n), gid=as_gid or gid(n))

	def decide(self, f, n, **more):
		self.note("ok", op=self.ask(f, n, **more))

	def refuse(self, f, n, code=4, winner=None, **more):
		self.note("fail", op=self.ask(f, n, **more), code=code, remark="", **({"winner": winner} if winner else {}))

	def unheard(self, f, n, **more):
		self.note("info", op=self.ask(f, n, **more), why="closed")

	def record(self, n, offset, seq=None, **change):
		fields = {"topic": "t", "partition": 0, "offset": offset, "crc": n, "key": "k", "uniq": "u%d" % n,
			  "id": gid(n) + "-0", "seq": "aa:%d" % (offset + 1 if seq is None else seq), "size": 1}
		self.note("record", **{**fields, **change})

	def end(self):
		self.note("end", undecided=0, pending=0)
		return judge.judge(self.lines)


class Judge(unittest.TestCase):
	"""1 and 2 are committed one after the other, 3 is rolled back, 4 is committed by a check."""

	def setUp(self):
		self.book = b = Book(commit=2, rollback=1, answer=1)
		b.half(1)
		b.decide("commit", 1)
		b.half(2)
		b.decide("commit", 2)
		b.half(3)
		b.decide("rollback", 3)
		b.half(4)
		b.note("check", p=0, gid=gid(4), uniq="u4", generation=0)
		b.decide("answer", 4, said="commit")

	def finish(self, *records):
		for n, offset, *seq in records or ((1, 0), (2, 1), (4, 2)):
			self.book.record(n, offset, *seq)
		return self.book.end()

	def finds(self, result, *names):
		found = {name for name in judge.BAD if result[name]}
		self.assertEqual(found, set(names), result)
		self.assertTrue(result["verdict"].startswith("FAIL"), result["verdict"])

	def test_all_is_well(self):
		self.assertEqual(self.finish()["verdict"], "PASS")

	def test_a_committed_message_is_not_in_kafka(self):
		self.finds(self.finish((1, 0), (2, 1)), "lost")

	def test_one_decided_by_check_is_not_in_kafka(self):
		self.book.half(5)
		self.book.decide("answer", 5, said="commit")
		self.finds(self.finish(), "lost")

	def test_a_contradiction_is_told_that_it_is_committed_and_it_is_not_in_kafka(self):
		self.book.half(5)
		self.book.unheard("commit", 5)
		self.book.refuse("rollback", 5, winner="committed")
		self.finds(self.finish(), "lost")

	def test_a_half_message_is_forgotten(self):
		self.book.half(5)
		self.book.refuse("rollback", 5, code=1)
		self.finds(self.finish(), "lost")

	def test_nobody_sent_it(self):
		self.finds(self.finish((1, 0), (2, 1), (4, 2), (77, 3)), "phantom")

	def test_it_has_another_body(self):
		self.book.record(1, 0, crc=99)
		self.finds(self.finish((2, 1), (4, 2)), "phantom")

	def test_it_has_another_key(self):
		self.book.record(1, 0, key="other")
		self.assertEqual(self.finish((2, 1), (4, 2))["phantom"], 1)

	def test_nobody_committed_it(self):
		self.book.half(5)
		self.book.decide("answer", 5, said="unknown")
		self.book.refuse("rollback", 5, code=2)
		self.assertEqual(self.finish((1, 0), (2, 1), (4, 2), (5, 3))["phantom"], 1)

	def test_what_was_refused_took_effect(self):
		self.book.half(5)
		self.book.refuse("commit", 5, code=2)
		self.assertEqual(self.finish((1, 0), (2, 1), (4, 2), (5, 3))["phantom"], 1)

	def test_a_refused_half_send_took_effect(self):
		self.book.refuse("half", 5, code=2)
		self.book.unheard("answer", 5, said="commit")
		self.finds(self.finish((1, 0), (2, 1), (4, 2), (5, 3)), "phantom")

	def test_a_stale_answer_decided(self):
		self.book.half(5)
		self.book.note("ok", op=self.book.ask("answer", 5, said="commit"), stale=True)
		self.book.unheard("rollback", 5)
		self.assertEqual(self.finish((1, 0), (2, 1), (4, 2), (5, 3))["phantom"], 1)

	def test_a_rolled_back_one_is_in_kafka(self):
		self.book.unheard("commit", 3)
		self.finds(self.finish((1, 0), (2, 1), (4, 2), (3, 3)), "resurrected")

	def test_two_decisions(self):
		self.book.decide("rollback", 1)
		self.assertIn("conflict", [n for n in judge.BAD if self.finish()[n]])

	def test_the_winner_changes(self):
		self.book.half(5)
		self.book.unheard("commit", 5)
		self.book.unheard("rollback", 5)
		self.book.refuse("rollback", 5, winner="committed")
		self.book.refuse("commit", 5, winner="rolled back")
		self.assertEqual(self.finish((1, 0), (2, 1), (4, 2), (5, 3))["conflict"], 1)

	def test_a_winner_that_nobody_asked_for(self):
		self.book.half(5)
		self.book.refuse("commit", 5, winner="rolled back")
		self.finds(self.finish(), "conflict")

	def test_a_half_send_is_welcomed_after_the_decision(self):
		self.book.half(1)
		self.finds(self.finish(), "conflict")

	def test_disordered(self):
		self.finds(self.finish((2, 0), (1, 1), (4, 2)), "disordered")

	def test_those_under_way_together_may_come_either_way(self):
		b = Book()
		for n in (1, 2):
			b.half(n)
		first, second = b.ask("commit", 1), b.ask("commit", 2)
		b.note("ok", op=first)
		b.note("ok", op=second)
		b.record(2, 0)
		b.record(1, 1)
		self.assertEqual(b.end()["verdict"], "PASS")

	def test_not_in_the_order_of_its_numbers(self):
		self.finds(self.finish((1, 0, 2), (2, 1, 1), (4, 2, 3)), "disordered")

	def test_a_number_is_missing(self):
		self.finds(self.finish((1, 0, 1), (2, 1, 3), (4, 2, 4)), "gap")

	def test_one_of_two_messages(self):
		self.book.record(1, 0, size=2)
		self.finds(self.finish((2, 1), (4, 2)), "torn")

	def test_one_id_under_two_numbers(self):
		self.book.note("fault", kind="kill")
		self.finds(self.finish((1, 0), (2, 1), (4, 2), (1, 3, 4)), "doubled")

	def test_one_message_under_two_ids(self):
		self.book.half(1, as_gid=gid(101))
		self.book.decide("commit", 1, gid=gid(101))
		self.book.record(1, 3, id=gid(101) + "-0")
		self.finds(self.finish(), "doubled")

	def test_begun_again_after_a_rollback(self):
		self.book.half(3, as_gid=gid(103))
		self.book.decide("commit", 3, gid=gid(103))
		self.book.record(3, 3, id=gid(103) + "-0")
		self.assertEqual(self.finish()["verdict"], "PASS")

	def test_repeated_without_a_fault(self):
		self.finds(self.finish((1, 0), (2, 1), (4, 2), (4, 3, 3)), "doubled")

	def test_repeated_after_a_fault(self):
		self.book.note("fault", kind="kill")
		result = self.finish((1, 0), (2, 1), (4, 2), (4, 3, 3))
		self.assertEqual((result["verdict"], result["repeated"]), ("PASS", 1))

	# -- what shows nothing ---------------------------------------------------------------

	def vacuous(self, result, word):
		self.assertIn(word, result["verdict"])
		self.assertEqual([n for n in judge.BAD if result[n]], [])

	def test_too_few_of_what_was_planned(self):
		for need in ("commit", "rollback", "answer", "ambiguous", "kill"):
			self.setUp()
			self.book.lines[0]["need"] = {need: 9}
			self.vacuous(self.finish(), "vacuous: " + need)

	def test_a_kill_that_hurt_nobody(self):
		for offset, hurt in ((3, 0), (2, 1)):
			self.setUp()
			self.book.lines[0]["need"] = {"kill": 1}
			self.book.half(5)
			op = self.book.ask("commit", 6)
			self.book.note("fault", kind="kill")
			self.book.note("info", op=op, why="closed")
			self.book.note("healed", kind="kill", ends={"t/0": offset})	# was 4 there already?
			self.book.decide("rollback", 5)
			result = self.finish()
			self.assertEqual(result["effective"]["kill"], hurt, result)
			self.assertEqual(result["verdict"] == "PASS", bool(hurt))

	def test_a_fault_that_says_it_did_nothing(self):
		self.book.lines[0]["need"] = {"cut": 1}
		self.book.note("fault", kind="cut")
		self.book.note("healed", kind="cut", effective=False)
		self.vacuous(self.finish(), "vacuous: cut")

	def test_it_broke_off(self):
		self.book.record(1, 0)
		self.book.record(2, 1)
		self.book.record(4, 2)
		self.vacuous(judge.judge(self.book.lines), "no end")

	def test_nobody_knows_what_became_of_it(self):
		self.book.half(5)
		self.vacuous(self.finish(), "nobody was told")

	def test_an_empty_history(self):
		self.assertNotEqual(judge.judge([])["verdict"], "PASS")


if __name__ == "__main__":
	unittest.main()
