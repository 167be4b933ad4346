"""directory.py -- one directory, one daemon, one Kafka; and what survives a restart."""

import pathlib
import socket

from remoting import COMMIT, ROLLBACK, Peer


def second_daemon(world):
	"""Two daemons on one journal would both be right, and the journal would be lost."""
	other = world.lab.Daemon(world.args.daemon, world.folder / "second", **{})
	other.settings.update(world.daemon.settings)
	words = other.refuses_to_start()
	if "another daemon" not in words:
		raise world.lab.Failed("the refusal does not say why: " + words)


def survives_kill(world):
	"""An answered half-send survives a kill -9, with its tokens; so does every decision."""
	peer = Peer(world.address)
	halves = [peer.half("g", "orders", b"kept %d" % i, "kept-%d" % i) for i in range(30)]
	for i, half in enumerate(halves):
		if half.code:
			raise world.lab.Failed("half %r" % half)
		if i % 3:
			peer.end("g", half, COMMIT if i % 3 == 1 else ROLLBACK)
	world.daemon.kill()
	world.daemon.start()
	peer = Peer(world.address)
	for i, half in enumerate(halves):
		wanted = 0 if i % 3 < 2 else 4
		answer = peer.end("g", half, COMMIT)
		if answer.code != wanted:
			raise world.lab.Failed("commit of %d (%s): %r" % (i, ("undecided", "committed", "rolled back")[i % 3], answer))
	again = peer.half("g", "orders", b"kept 1", "kept-1")
	if again.code != 13 or not again.remark.startswith("decided: committed"):
		raise world.lab.Failed("the key of a committed one is forgotten: %r" % again)


def drains(world):
	"""SIGTERM ends it with status 0, and what was answered is there afterwards."""
	peer = Peer(world.address)
	half = peer.half("g", "orders", b"drained", "drained-1")
	world.daemon.stop()
	world.daemon.start()
	answer = Peer(world.address).end("g", half, COMMIT)
	if answer.code != 0:
		raise world.lab.Failed("after an orderly stop: %r" % answer)


def kafka_away(world):
	"""Kafka away is no reason to refuse a decision, nor a half-send to a topic already known."""
	world.honest()
	world.kafka.tell("down all")
	try:
		world.honest()
		status, _ = world.daemon.get("/livez")
		if status != 200:
			raise world.lab.Failed("/livez says %s because Kafka is away" % status)
	finally:
		world.kafka.tell("up all")
	world.lab.until("published after Kafka came back", lambda: world.daemon.metric("escrow_publish_pending") == 0, 60)


def another_kafka(world):
	"""A journal published half to one cluster and half to another would look complete to nobody."""
	world.honest()
	world.daemon.kill()
	other = world.lab.Mockd(world.args.mockd, ("orders", "invoices"))	# its cluster id is another
	mine = world.daemon.settings["kafka.bootstrap.servers"]
	world.daemon.settings["kafka.bootstrap.servers"] = other.address
	try:
		words = world.daemon.refuses_to_start()
		if "cluster" not in words.lower():
			raise world.lab.Failed("the refusal does not say why: " + words)
	finally:
		other.kill()
		world.daemon.settings["kafka.bootstrap.servers"] = mine
	world.daemon.start()


def port_in_use(world):
	"""A supervisor that starts it again and again, while its port is in use, must not fill the disk."""
	peer = Peer(world.address)
	half = peer.half("g", "orders", b"before", "before-1")
	world.daemon.kill()
	data = pathlib.Path(world.daemon.settings["data.dir"])
	listening = world.daemon.settings["listen.address"]
	with socket.create_server(("127.0.0.1", 0)) as taken:
		world.daemon.settings["listen.address"] = "127.0.0.1:%d" % taken.getsockname()[1]
		for i in range(20):
			words = world.daemon.refuses_to_start()
			if "cannot listen" not in words or "another process listens there" not in words:
				raise world.lab.Failed("the refusal does not say why: " + words)
			segments = [f.name for f in data.iterdir() if f.name[0] == "0"]
			if i == 0:
				first = len(segments)
			if len(segments) > first:
				raise world.lab.Failed("%d segments after start %d, and %d after the first" % (len(segments), i + 1, first))
	world.daemon.settings["listen.address"] = listening
	world.daemon.start()
	answer = Peer(world.address).end("g", half, COMMIT)
	if answer.code != 0:
		raise world.lab.Failed("what was there before: %r" % answer)


SCENARIOS = (second_daemon, port_in_use, survives_kill, drains, kafka_away, another_kafka)


def run(lab, args, folder, tally):
	from world import World
	with World(lab, args, folder) as world:
		return world.play(tally, "directory", SCENARIOS)
