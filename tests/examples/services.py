"""services.py -- what the tests of the examples share: services that are killed, and their books.

    with services.Town(args, "order", ["orders"]) as town:           a daemon, a mock of Kafka, a folder
            town.start("stock", args.stock, ...)                     a process, by name
            town.spoil(8, share)                                     kill -9 of one after another, drawn by the seed
            town.settle("...", condition, tell)                      nothing is undecided, and the condition holds
            town.stop()                                              each ends in order

    books = services.Books(path or server)                           rows of either database
"""

import argparse
import pathlib
import random
import secrets
import signal
import sqlite3
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import databases  # noqa: E402
import lab  # noqa: E402


def fresh_group():
	"""Properties of a consumer: a group of its own for each life, in which nobody waits for the session of the one before.
	And it is sent everything again from the beginning, which must be without effect.  (A member that times out while it
	waits to join, the mock never answers.)"""
	return ["group.id=" + secrets.token_hex(8), "session.timeout.ms=60000", "fetch.wait.max.ms=5"]


class Books:
	"""The rows of a SQLite file, or of a server of databases.py, as text; none while nobody has made the table."""

	def __init__(self, of):
		self.of = of
		self.is_file = isinstance(of, pathlib.Path)
		# What the examples call it.
		self.where = of if self.is_file else of.url if of.name == "mysql" else \
			"postgresql:///postgres?host=%s&user=postgres" % of.dir

	def rows(self, text):
		if not self.is_file:
			return sorted(self.of.query(text) or [])
		db = sqlite3.connect(self.of, timeout=20)
		try:
			return sorted(tuple(str(v) for v in row) for row in db.execute(text))
		except sqlite3.OperationalError as e:
			if "no such table" not in str(e):
				raise
			return []
		finally:
			db.close()

	def number(self, text):
		rows = self.rows(text)
		return int(rows[0][0]) if rows else 0


class Town:
	"""A daemon, a mock of Kafka, and services that are killed and started again."""

	def __init__(self, args, name, topics):
		self.rng, self.folder = random.Random(args.seed), lab.Folder("examples-" + name)
		self.log = open(self.folder / "log", "wb")
		self.mock = lab.Mockd(args.mockd, topics)
		# Where it is asked for: it comes back to the same place.
		self.daemon = lab.Daemon(args.daemon, self.folder / "daemon", kafka__bootstrap__servers=self.mock.address,
					 kafka__max__in__flight=1, listen__address="127.0.0.1:%d" % lab.free_port(),
					 check__immunity="1s", check__interval="1s", check__backoff="1", check__max="1000000")
		self.daemon.start()
		self.commands, self.processes, self.kills = {}, {}, 0

	def __enter__(self):
		return self

	def __exit__(self, *_):
		for process in self.processes.values():
			process.kill()
			process.wait()
		self.daemon.kill()
		self.mock.kill()
		self.log.close()

	def broker(self, group):
		return "escrow://%s?group=%s" % (self.daemon.remoting, group)

	def run(self, *command):
		words = []
		for word in command:
			words += word() if callable(word) else [str(word)]
		return subprocess.Popen(words, stdout=self.log, stderr=self.log, preexec_fn=lab.die_with_parent)

	def start(self, name, *command):
		self.commands[name] = command
		self.processes[name] = self.run(*command)

	def kill(self, name):
		"""kill -9; it is started again at once."""
		self.kills += 1
		if name == "escrowd":
			self.daemon.kill()
			self.daemon.start()
			return
		self.processes[name].kill()
		self.processes[name].wait()
		self.start(name, *self.commands[name])

	def check(self):
		"""None has ended by itself, nor the mock: then the run is void."""
		self.mock.check()
		for name, process in self.processes.items():
			if process.poll() not in (None, 0):
				raise lab.Failed("%s ended by itself with %d" % (name, process.returncode))

	def spoil(self, kills, share):
		"""KILLS of them, drawn, each once before any twice; spread over the work, of which SHARE() is done."""
		pause, order = threading.Event(), []
		for done in range(kills):
			def far_enough():
				self.check()
				return share() >= 0.9 * done / kills	# noqa: B023
			lab.until("the work does not go on", far_enough, 90, 0.02)
			pause.wait(self.rng.uniform(0, 0.2))
			if not order:
				order = sorted([*self.processes, "escrowd"])
				self.rng.shuffle(order)
			self.kill(order.pop())

	def ask_again(self, name):
		"""It has ended in order; while something is undecided, another of its kind is there to be asked."""
		if self.processes[name].poll() == 0 and self.daemon.undecided():
			self.start(name, *self.commands[name])

	def settle(self, what, condition, tell):
		"""Until the condition holds and nothing is undecided.  TELL() says how it stands."""
		def settled():
			self.check()
			return condition() and self.daemon.undecided() == 0
		try:
			lab.until(what, settled, 90, 0.1)
		except lab.Failed as e:
			raise lab.Failed("%s: %s" % (e, tell())) from None

	def stop(self):
		"""SIGTERM; each ends in order."""
		for process in self.processes.values():
			process.terminate()
		for name, process in self.processes.items():
			try:
				code = process.wait(60)
			except subprocess.TimeoutExpired:
				raise lab.Failed("%s does not end" % name) from None
			if code not in (0, -signal.SIGTERM):	# so early that nobody handled it
				raise lab.Failed("%s ended with %d" % (name, code))
		self.daemon.stop()


def arguments(doc, *programs, kills=8):
	p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
	for name in ("daemon", "mockd", *programs):
		p.add_argument("--" + name, required=True)
	p.add_argument("--engine", choices=tuple(databases.ENGINES), default="sqlite")
	p.add_argument("--kills", type=int, default=kills)
	p.add_argument("--seed", type=int, default=1)
	return p.parse_args()


def main(name, topics, args, play):
	"""PLAY(town, server) between here and the end; it returns a sentence.  SERVER is None, or one of databases.py."""
	def visit(server):
		with Town(args, name, topics) as town:
			try:
				said = play(town, server)
			except lab.Failed as e:
				town.mock.check()
				raise lab.Failed("%s (%s)" % (e, town.folder.path)) from None
		town.folder.drop()
		return "%s, %d kills" % (said, town.kills)

	def attempt():
		if args.engine == "sqlite":
			return visit(None)
		with databases.ENGINES[args.engine]() as server:
			return visit(server)

	try:
		said = lab.again(attempt)
	except lab.Skipped as e:
		lab.skip(e)
	except lab.Failed as e:
		print("FAIL %s on %s, seed %d: %s" % (name, args.engine, args.seed, e))
		return 1
	print("%s on %s, seed %d: %s" % (name, args.engine, args.seed, said))
	return 0
