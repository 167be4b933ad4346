"""process.py -- the daemon as a process: what is typed, what it says of its settings, how it ends."""

import os
import pathlib
import subprocess

from remoting import COMMIT, ROLLBACK, Closed, Peer

LEFT = 32	# half messages that a journal is left with


def escrowd(world, *args, env=None):
	return subprocess.run([world.daemon.binary, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
			      env={**{k: v for k, v in os.environ.items() if not k.startswith("ESCROW_")}, **(env or {})})


def settings_file(world, text):
	path = world.folder / "some.conf"
	path.write_text("kafka.bootstrap.servers = 127.0.0.1:1\n" + text)
	return str(path)


def settings_are_validated(world):
	"""Who has just edited a file asks before the restart, not by it."""
	for text, words in (("check.max = 7\nkafka.linger.ms = 5\ntopic.map.a = b\n", None),
			    ("check.maxx = 7\n", "some.conf:2:1"), ("check.max = 0\n", "some.conf:2:1"), ("check.max\n", "some.conf:2"),
			    ("journal.quota = 8MiB\n", "journal.quota"),
			    ("kafka.acks = 1\n", "kafka.acks"), ("kafka.no.such = 1\n", "kafka.no.such"),
			    ("kafka.linger.ms = soon\n", "linger.ms"), ("kafka.max.in.flight = 50\n", "max.in.flight")):
		done = escrowd(world, "--validate-config", "--config", settings_file(world, text))
		if (done.returncode == 0) != (words is None) or (words or "") not in done.stderr or (words is None and done.stderr):
			raise world.lab.Failed("%r: status %d, %r" % (text, done.returncode, done.stderr))


def settings_are_printed(world):
	"""What holds is what was said last: file, environment, command line; printed, it says the same again."""
	path = settings_file(world, "check.max = 3\ncheck.rate = 3\ncheck.outstanding = 3\n")
	first = escrowd(world, "--print-config", "--config", path, "--set", "check.rate=5",
			env={"ESCROW_CHECK_RATE": "4", "ESCROW_CHECK_OUTSTANDING": "4"})
	lines = [l for l in first.stdout.splitlines() if l and not l.startswith("#")]
	for wanted in ("check.max = 3", "check.outstanding = 4", "check.rate = 5", "limits.undecided = 20000000"):
		if wanted not in lines:
			raise world.lab.Failed("%r is not among the settings: %s" % (wanted, first.stdout + first.stderr))
	(world.folder / "printed.conf").write_text(first.stdout)
	again = escrowd(world, "--print-config", "--config", str(world.folder / "printed.conf"))
	if [l for l in again.stdout.splitlines() if l and not l.startswith("#")] != lines:
		raise world.lab.Failed("what was printed reads otherwise: " + again.stdout)
	for args in (["--help"], ["-h"], ["journal", "--help"]):
		done = escrowd(world, *args)
		if done.returncode != 0 or "/etc/escrow/escrowd.conf" not in done.stdout:
			raise world.lab.Failed("%s: %s" % (args, done.stdout + done.stderr))
	bare = escrowd(world)
	if not os.path.exists("/etc/escrow") and (bare.returncode != 1 or bare.stderr != "/etc/escrow/escrowd.conf: is not there, and "
						  "kafka.bootstrap.servers is not set: where is Kafka?\n"):
		raise world.lab.Failed("without any settings: status %d, %s" % (bare.returncode, bare.stderr))
	for args in (["--no-such"], ["--set"], ["--set", "nothing"], ["journal"], ["journal", "mend", "/tmp"]):
		done = escrowd(world, *args)
		if done.returncode == 0 or not done.stderr:
			raise world.lab.Failed("%s is taken: %s" % (args, done.stdout))


def journal_tools(world):
	"""A journal can be read by a person, and damage found, while no daemon runs on it."""
	half = Peer(world.address).half("g", "orders", b"for the record", "tools-1")
	world.daemon.kill()
	folder = world.daemon.settings["data.dir"]
	try:
		for verb, words in (("dump", half.ext["transactionId"].lower()), ("verify", ""), ("stat", "last_segment")):
			done = escrowd(world, "journal", verb, folder)
			if done.returncode != 0 or words not in done.stdout:
				raise world.lab.Failed("journal %s: status %d, %s" % (verb, done.returncode, done.stderr))
		for place in (world.folder / "nowhere", world.folder):	# neither a directory, nor one of a journal
			done = escrowd(world, "journal", "verify", str(place))
			if done.returncode == 0 or str(place) not in done.stderr or (world.folder / "nowhere").exists():
				raise world.lab.Failed("what is no journal is verified: %r, made: %s" % (
					done.stderr, (world.folder / "nowhere").exists()))
	finally:
		world.daemon.start()


def mapped_topic(world):
	"""A name that RocketMQ's clients may use becomes one that Kafka's consumers know."""
	world.daemon.stop()
	world.daemon.settings["topic.map.orders_paid"] = "invoices"
	world.daemon.start()
	peer = Peer(world.address)
	if peer.route("orders_paid").code != 0:
		raise world.lab.Failed("no route to a mapped topic")
	half = peer.half("g", "orders_paid", b"paid", "mapped-1")
	if half.code != 0 or peer.end("g", half, COMMIT).code != 0:
		raise world.lab.Failed("a transaction to a mapped topic: %r" % half)
	path = "/api/v1/transactions/" + half.ext["transactionId"].lower()
	world.lab.until("it is published", lambda: world.daemon.get(path)[1]["state"] == "published", 30)
	if world.daemon.get(path)[1]["topic"] != "invoices":
		raise world.lab.Failed("it was published elsewhere: %r" % (world.daemon.get(path),))


def takes_newcomers(world):
	try:
		return not Peer(world.address).is_closed()
	except ConnectionRefusedError:
		return False


def draining(world):
	"""Told to stop while Kafka is away, it takes decisions and no half-sends, and hands over when Kafka is back."""
	world.daemon.stop()
	world.daemon.settings["shutdown.timeout"] = "1h"
	world.daemon.start()
	peer = Peer(world.address)
	halves = [peer.half("g", "orders", b"late %d" % i, "late-%d" % i) for i in range(3)]
	world.kafka.tell("down all")
	try:
		peer.end("g", halves[0], COMMIT)
		world.daemon.process.terminate()
		n = iter(range(1 << 30))
		refused = world.lab.until("half-sends are refused", lambda: next(
			(a for a in [peer.half("g", "orders", b"x", "too-late-%d" % next(n))] if a.code != 0), None), 30)
		if refused.code != 2 or not refused.remark.startswith("draining"):
			raise world.lab.Failed("a half-send while it stops: %r" % refused)
		for half, verdict in ((halves[1], COMMIT), (halves[2], ROLLBACK)):
			if peer.end("g", half, verdict).code != 0:
				raise world.lab.Failed("a decision while it stops is refused")
		if world.daemon.get("/readyz")[0] != 503 or takes_newcomers(world):
			raise world.lab.Failed("it still invites newcomers")
	finally:
		world.kafka.tell("up all")
	if world.daemon.process.wait(60) != 0:
		raise world.lab.Failed("it ended with %s" % world.daemon.last_words())
	if "owed=0" not in world.daemon.last_words():
		raise world.lab.Failed("it did not hand over: " + world.daemon.last_words())
	world.daemon.start()


def stops_in_time(world):
	"""Kafka may be away for ever: what it owes is handed over by the next life."""
	world.daemon.stop()
	world.daemon.settings["shutdown.timeout"] = "300ms"
	world.daemon.start()
	peer = Peer(world.address)
	half = peer.half("g", "orders", b"owed", "owed-1")
	world.kafka.tell("down all")
	try:
		peer.end("g", half, COMMIT)
		world.daemon.stop()
		if "owed=0" in world.daemon.last_words():
			raise world.lab.Failed("nothing was owed: nothing was shown")
	finally:
		world.kafka.tell("up all")
	world.daemon.start()
	path = "/api/v1/transactions/" + half.ext["transactionId"].lower()
	world.lab.until("it is published", lambda: world.daemon.get(path)[1]["state"] == "published", 30)


def answers_what_it_read(world):
	"""What was answered while it stopped is there afterwards, and all that was read was answered."""
	peer = Peer(world.address)
	ext = [peer.half_fields("g", "orders", [("TRAN_MSG", "true"), ("PGROUP", "g"), ("UNIQ_KEY", "read-%d" % i)])
	       for i in range(LEFT)]
	peer.raw(b"".join(peer.encode(10, e, b"x") for e in ext))
	answers = [peer.read()]	# what came with it was read with it
	world.daemon.stop()
	try:
		while True:
			answers.append(peer.read())
	except Closed:
		pass
	taken = [a for a in answers if a.code == 0]
	if len(answers) != LEFT or any(a.code not in (0, 2) for a in answers):
		raise world.lab.Failed("%d of %d half-sends were answered, %d taken" % (len(answers), LEFT, len(taken)))
	world.daemon.start()
	peer = Peer(world.address)
	for half in taken:
		if peer.end("g", half, ROLLBACK).code != 0:
			raise world.lab.Failed("a half message that was answered is gone")


def newest_segment(world):
	return max(int(p.stem) for p in pathlib.Path(world.daemon.settings["data.dir"]).glob("0*.seg"))


def connections_leave_files_to_the_journal(world):
	"""Whoever connects often enough must not take the descriptor that the next segment needs: that ends the daemon."""
	world.daemon.stop()
	world.daemon.start(wrapper=("prlimit", "--nofile=256:256"))
	peer = Peer(world.address)
	crowd = []
	try:
		for _ in range(400):
			try:
				crowd.append(Peer(world.address))
			except OSError:
				break
		segment = newest_segment(world)
		for i in range(90):
			answer = peer.half("g", "orders", b"x" * 200000, "files-%d" % i)
			if answer.code != 0 or peer.end("g", answer, ROLLBACK).code != 0:
				raise world.lab.Failed("half-send %d beside %d connections: %r" % (i, len(crowd), answer))
		if newest_segment(world) < segment + 3:
			raise world.lab.Failed("no segment was begun: nothing was shown")
	finally:
		for other in crowd:
			other.close()
		peer.close()
	world.daemon.stop()
	world.daemon.start()


SCENARIOS = (settings_are_validated, settings_are_printed, journal_tools, mapped_topic, draining, stops_in_time,
	     answers_what_it_read, connections_leave_files_to_the_journal)


def run(lab, args, folder, tally):
	from world import World
	with World(lab, args, folder) as world:
		return world.play(tally, "process", SCENARIOS)
