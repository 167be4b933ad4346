"""real.py -- what the mock cluster cannot show: topics that come, go, are made anew, and have limits."""

import base64

from remoting import COMMIT, Peer

KIB = 1 << 10
FRESH = 24	# topics that are made and used at once


class RealWorld:
	"""A real Kafka and a daemon with the defaults of a user."""

	def __init__(self, lab, args, folder):
		self.lab, self.folder = lab, folder
		self.kafka = lab.Kafka(folder / "kafka", args.kafka)
		self.kafka.start()
		self.topics = lab.Topics(args.topics, self.kafka.address)
		self.daemon = lab.Daemon(args.daemon, folder / "daemon", kafka__bootstrap__servers=self.kafka.address,
					 check__immunity="1h")
		self.daemon.start()
		self.count = 0

	def peer(self):
		return Peer(self.daemon.remoting, timeout=30)

	def half(self, topic, body):
		self.count += 1
		return self.peer().half("g", topic, body, "R%05d" % self.count)

	def commit(self, topic, n):
		"""N committed messages and their UNIQ_KEYs."""
		keys = []
		for _ in range(n):
			half = self.half(topic, b"body %d" % self.count)
			if half.code != 0:
				raise self.lab.Failed("a half-send to %s is answered %r" % (topic, half))
			answer = self.peer().end("g", half, COMMIT)
			if answer.code != 0:
				raise self.lab.Failed("a commit is answered %r" % answer)
			keys.append("R%05d" % self.count)
		return keys

	def published(self, topic, keys):
		"""Waits until exactly these are in the topic."""
		self.lab.until("%d messages in %s" % (len(keys), topic), lambda: self.topics.count(topic) >= len(keys), 60)
		found = [base64.b64decode(v).decode() for r in self.topics.dump(topic) for n, v in r["headers"] if n == "UNIQ_KEY"]
		if sorted(found) != sorted(keys):
			raise self.lab.Failed("%s has %s instead of %s" % (topic, found, keys))

	def in_order(self, topic, keys):
		"""Each of these arrived, and in each partition the first records of them come in the order of their commits;
		Kafka's end may cost repetitions."""
		lanes = {}
		for r in self.topics.dump(topic):
			headers = {n: base64.b64decode(v).decode() for n, v in r["headers"]}
			lane = lanes.setdefault(r["partition"], {})
			lane.setdefault(headers["UNIQ_KEY"], (int(headers["escrow-seq"].partition(":")[2]), r["offset"]))
		found = {key for lane in lanes.values() for key in lane}
		if found != set(keys):
			raise self.lab.Failed("%d of %d arrived, not %s; never committed: %s" % (
				len(found & set(keys)), len(keys), sorted(set(keys) - found), sorted(found - set(keys))))
		for partition, lane in lanes.items():
			if list(lane) != [key for key in keys if key in lane]:
				raise self.lab.Failed("partition %d of %s has another order than the commits (UNIQ_KEY, n, offset): %s"
						      % (partition, topic, [(k, *at) for k, at in lane.items()]))

	def warned(self, what, since):
		"""A line of warning or worse about it since that position of the log."""
		def line():
			with open(self.daemon.log, "rb") as log:
				log.seek(since)
				return [l for l in log.read().decode(errors="replace").splitlines()
					if what in l and ("level=warn" in l or "level=error" in l)]
		self.lab.until("an alarm about %s" % what, line, 30)


def limits_of_a_topic(world):
	"""A message that the topic would refuse must be refused while that is harmless: at half-send."""
	world.topics.create("small:1:max.message.bytes=2000", "roomy:1:max.message.bytes=2097152")
	for topic, size, code in (("small", 1000, 0), ("small", 3000, 13), ("roomy", 2000 * KIB, 0), ("roomy", 2100 * KIB, 13)):
		answer = world.lab.until("%s is known" % topic, lambda t=topic, s=size: known(world.half(t, b"x" * s)), 15)
		if answer.code != code:
			raise world.lab.Failed("%d bytes to %s: %r instead of %d" % (size, topic, answer, code))


def burst_to_a_small_topic(world):
	"""Kafka's limit is that of a batch: a backlog to a small topic must not cost Kafka's client for each message."""
	world.topics.create("burst:1:max.message.bytes=20000")
	world.lab.until("burst is known", lambda: known(world.half("burst", b"x" * 500)), 15)
	world.lab.until("and its limit", lambda: world.half("burst", b"x" * 30000).code == 13, 15)
	before = world.daemon.get("/api/v1/kafka")[1]["handle_rebuilds"]
	halves, first = [world.half("burst", b"x" * 500) for _ in range(200)], world.count - 199
	peer = world.peer()
	peer.raw(b"".join(peer.encode(37, peer.end_fields("g", half, COMMIT)) for half in halves))
	for _ in halves:
		if peer.read().code != 0:
			raise world.lab.Failed("a commit is refused")
	world.published("burst", ["R%05d" % i for i in range(first, first + 200)])
	rebuilds = world.daemon.get("/api/v1/kafka")[1]["handle_rebuilds"] - before
	if rebuilds > 4:
		raise world.lab.Failed("Kafka's client was made anew %d times for 200 messages" % rebuilds)


def known(answer):
	return answer if answer.code not in (2, 17) else None


def topic_made_later(world):
	"""A topic made after the first refusal must be found without a restart."""
	if world.half("later", b"x").code != 17:
		raise world.lab.Failed("a topic that does not exist is taken")
	world.topics.create("later:2")
	world.lab.until("the new topic is found", lambda: world.half("later", b"x").code == 0, 60)
	world.published("later", world.commit("later", 3))


def wiped_topic(world):
	"""Operators delete and make a topic again: what is committed after that must arrive, and be told."""
	world.topics.create("wiped:2")
	world.lab.until("the topic is known", lambda: known(world.half("wiped", b"x")), 15)
	world.published("wiped", world.commit("wiped", 20))
	since = world.daemon.log.stat().st_size
	world.topics.delete("wiped")
	world.topics.create("wiped:2")
	world.published("wiped", world.commit("wiped", 5))
	world.warned("wiped", since)


def wiped_while_down(world):
	"""The same while the daemon is dead: its marks must not be taken for records of the new topic."""
	world.topics.create("rewiped:1")
	world.lab.until("the topic is known", lambda: known(world.half("rewiped", b"x")), 15)
	world.published("rewiped", world.commit("rewiped", 10))
	world.daemon.stop()
	world.topics.delete("rewiped")
	world.topics.create("rewiped:1")
	world.daemon.start()
	keys = world.commit("rewiped", 5)
	world.lab.until("the new ones arrive", lambda: set(keys) <= {
		base64.b64decode(v).decode() for r in world.topics.dump("rewiped") for n, v in r["headers"] if n == "UNIQ_KEY"}, 60)


def topic_gone_at_commit(world):
	"""A commit is final even if its topic is gone by then: it waits, and arrives when the topic is back."""
	world.topics.create("gone:1")
	half = world.lab.until("the topic is known", lambda: known(world.half("gone", b"x")), 15)
	key = "R%05d" % world.count
	world.topics.delete("gone")
	answer = world.peer().end("g", half, COMMIT)
	if answer.code != 0:
		raise world.lab.Failed("the commit is answered %r" % answer)
	world.topics.create("gone:1")
	world.published("gone", [key])


def topics_just_made(world):
	"""A broker that has just been made leader may refuse the first request and take the next: no message may be lost, nor
	come behind a later one.  One topic in fifteen showed it."""
	topics = ["fresh-%d" % i for i in range(FRESH)]
	keys = {}
	for topic in topics:
		world.topics.create(topic + ":4")
		world.lab.until("the topic is known", lambda t=topic: known(world.half(t, b"x")), 15, 0.005)
		peer = world.peer()
		halves = [peer.half("g", topic, b"x", "F%s-%02d" % (topic, i)) for i in range(12)]
		for half in halves:	# one after the other: several requests to Kafka
			if peer.end("g", half, COMMIT).code != 0:
				raise world.lab.Failed("a commit is refused")
		keys[topic] = ["F%s-%02d" % (topic, i) for i in range(12)]
		peer.close()
	world.lab.until("published", lambda: world.daemon.metric("escrow_publish_pending") == 0, 60)
	for topic in topics:
		world.in_order(topic, keys[topic])


def kafka_restarts(world):
	"""Kafka killed, or stopped for a while, and back: commits are taken meanwhile and arrive afterwards."""
	second = world.lab.Kafka(world.folder / "second")
	try:
		second.script("start", "--port", world.kafka.address.split(":")[1])
	except world.lab.Failed as e:
		if "is in use" not in str(e):
			raise
	else:
		raise world.lab.Failed("scripts/kafka takes another's broker for its own")
	second.wipe()
	if (world.folder / "second").exists():
		raise world.lab.Failed("scripts/kafka wipe leaves its folder")
	world.topics.create("restart:2")
	world.lab.until("the topic is known", lambda: known(world.half("restart", b"x")), 15)
	keys = world.commit("restart", 10)
	for end in (world.kafka.kill, world.kafka.stop):
		if world.kafka.address not in world.kafka.script("status"):
			raise world.lab.Failed("scripts/kafka status does not say where it is: " + world.kafka.script("status"))
		end()
		if world.kafka.address in world.kafka.script("status"):
			raise world.lab.Failed("scripts/kafka status still sees it")
		keys += world.commit("restart", 10)
		world.kafka.start()
		world.lab.until("published", lambda: world.daemon.metric("escrow_publish_pending") == 0, 60)
	world.in_order("restart", keys)


def another_real_kafka(world):
	"""A wiped Kafka is another cluster: the daemon must not publish the rest of its journal there."""
	world.daemon.stop()
	world.kafka.wipe()
	world.kafka.start()
	world.daemon.settings["kafka.bootstrap.servers"] = world.kafka.address
	words = world.daemon.refuses_to_start(ready=True)	# it may serve until Kafka has said who it is
	if "cluster" not in words.lower():
		raise world.lab.Failed("the refusal does not say why: " + words)


SCENARIOS = (limits_of_a_topic, burst_to_a_small_topic, topic_made_later, wiped_topic, wiped_while_down,
	     topic_gone_at_commit, topics_just_made, kafka_restarts, another_real_kafka)


def run(lab, args, folder, tally):
	world = RealWorld(lab, args, folder)
	failed = 0
	for scenario in SCENARIOS:
		name = "kafka %s" % scenario.__name__.replace("_", "-")
		if args.only and args.only not in name:
			continue
		try:
			scenario(world)
			tally.passes(name)
		except Exception as e:  # whatever it is: the line says what happened
			failed += 1
			tally.fails(name, "%s%s" % ("" if isinstance(e, lab.Failed) else type(e).__name__ + ": ", e))
			if not world.daemon.running() and scenario is not another_real_kafka:
				world.daemon.start()
	world.daemon.kill()
	world.kafka.wipe()
	return failed
