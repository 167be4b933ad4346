"""kills.py -- kill -9 of the daemon, again and again (schedule S2), and of producers (S3).

Each kill comes a moment after the producers were answered again, while something is under way (on a
disk that is busy elsewhere all may wait for one sync); a fifth of the starts that follow is killed too,
in the middle of its recovery.  A kill counts when it interrupted an undecided half message,
an operation under way and a commit that Kafka did not have yet: half of them must.  Syncs are slowed
down by a few milliseconds, as on a disk that is slower than this one: there is more to interrupt.
"""

import random
import time

import shim
import stage

SHARE = 100	# kills of one round


def play(args, tally):
	left = args.count
	number = 0
	while left > 0:
		tally.add("kills", one_round(args, args.seed + number, min(left, SHARE)))
		left -= SHARE
		number += 1


def await_work(r):
	"""Until a commit was just answered and more was asked for, but not for ever."""
	p = r.producers
	deadline = time.monotonic() + 1
	while not (time.monotonic() < p.commit_at + 0.02 and p.under_way()) and time.monotonic() < deadline:
		time.sleep(0.0005)


def one_round(args, seed, count):
	rnd = random.Random(seed)
	with stage.Round(args, "kills", seed) as r:
		r.plan(kill=count // 2, ambiguous=count, rollback=count, answer=count)
		control = shim.Control(r.folder / "control")
		env = control.preload(args)
		r.begin(env=env)
		aborted = crashed = 0
		for _ in range(count):
			control.sync_delay(rnd.choice((0, 0.003, 0.006)))
			r.load(0.05 + rnd.random() * 0.2)
			if rnd.random() < 0.3:
				r.producers.crash()
				crashed += 1
			await_work(r)
			r.fault("kill")
			r.daemon.kill()
			ends = r.ends()
			while rnd.random() < 0.2:
				r.daemon.launch(env=env)
				r.load(rnd.random() * 0.02, running=False)
				r.daemon.kill()
				aborted += 1
			r.start(env=env)
			r.healed("kill", ends=ends)
			r.progress(10)
		control.sync_delay(0)
		r.rest()
		result = r.verdict()
		result["starts killed"], result["producers killed"] = aborted, crashed
		return result
