"""stage.py -- a daemon, a Kafka, producers and their history: what every kind of torture acts on.

A round is one journal and one mock of Kafka, from nothing to rest.  Campaigns are many rounds:
a violation then names a history of a few thousand transactions, and no more.
"""

import pathlib
import re
import signal
import subprocess
import time

import history
import judge
import lab
import producers
import proxy

TOPICS = producers.Settings.topics
PARTITIONS = 16		# the mock keeps 5 MiB of each


class Round:
	"""One journal's life.  SETTINGS are the daemon's."""

	def __init__(self, args, name, seed, load=None, proxied=False, **settings):
		self.args, self.seed = args, seed
		self.folder = lab.Folder("torture-" + name)
		self.kafka = lab.Mockd(args.mockd, [])
		for topic in TOPICS:
			self.kafka.tell("topic %s %d" % (topic, PARTITIONS))
		self.topics = lab.Topics(args.topics, self.kafka.address)
		self.proxy = proxy.Proxy(self.kafka.address, seed) if proxied else None
		self.port = lab.free_port()
		own = {"kafka.bootstrap.servers": (self.proxy or self.kafka).address, "kafka.max.in.flight": 1,
		       "kafka.linger.ms": 60,	# a longer way to Kafka: most kills then find commits on it
		       "listen.address": "127.0.0.1:%d" % self.port, "check.immunity": "300ms", "check.interval": "300ms",
		       "check.backoff": 1, "check.max": 1000000, "journal.segment": "3MiB", "limits.message": "256KiB",
		       "journal.quota": "256MiB", "idempotency.window": "1h", "shutdown.timeout": "30s"}
		own.update({name.replace("__", "."): value for name, value in settings.items()})
		self.daemon = lab.Daemon(args.daemon, self.folder / "daemon")
		self.daemon.settings.update({name: str(value) for name, value in own.items()})
		self.history = history.History(self.folder / "history.jsonl")
		self.producers = producers.Producers("127.0.0.1:%d" % self.port, self.history, seed, load)
		self.starts = []	# seconds until it was ready

	def __enter__(self):
		return self

	def __exit__(self, *failure):
		try:
			self.producers.ended.set()
			if self.producers.is_alive():
				self.producers.join(10)
		finally:
			self.daemon.kill()
			if self.proxy:
				self.proxy.close()
			self.kafka.kill()
			self.history.close()
		if failure[0] is None:
			self.folder.drop()
		else:
			print("logs and history are in %s" % self.folder.path, flush=True)

	def plan(self, **need):
		self.history.note("plan", seed=self.seed, need=need)

	def begin(self, **how):
		self.start(**how)
		self.producers.start()
		self.progress()
		# The mock never says what a topic's largest message is.  Until the daemon stops asking, new
		# topics wait: killed meanwhile it would ask again and again, and interrupt nothing else.
		lab.until("every topic is known", lambda: self.producers.topics == set(self.producers.settings.topics), 60, 0.002)

	def start(self, **how):
		began = time.monotonic()
		self.daemon.start(**how)
		self.starts.append(time.monotonic() - began)

	def progress(self, n=1, seconds=60):
		"""Faults count nothing before the producers are back at work."""
		before = self.producers.ok

		def more():
			self.producers.alive()
			return self.producers.ok >= before + n
		lab.until("producers are answered", more, seconds, 0.002)

	def load(self, seconds, running=True):
		"""Load for a while; the daemon may not end by itself meanwhile."""
		deadline = time.monotonic() + seconds
		while True:
			self.producers.alive()
			if running and not self.daemon.running():
				raise lab.Failed("the daemon ended by itself, status %s: %s"
						 % (self.daemon.process.returncode, self.daemon.last_words()))
			left = deadline - time.monotonic()
			if left <= 0:
				return
			time.sleep(min(left, 0.05))

	def ends(self):
		return {"%s/%d" % place: n for place, n in self.topics.ends(*TOPICS).items()}

	def fault(self, kind):
		self.history.note("fault", kind=kind)

	def healed(self, kind, **how):
		self.history.note("healed", kind=kind, **how)

	def rest(self):
		"""All is mended.  Everything is to be decided and published, and still known after a restart."""
		if not self.daemon.running():
			raise lab.Failed("the daemon ended by itself: " + self.daemon.last_words())
		self.producers.pause()
		lab.until("what was under way has come to its end", self.producers.idle, 60)
		lab.until("every transaction is decided", lambda: self.daemon.undecided() == 0, 60)
		self.daemon.stop()
		self.daemon.start()
		self.producers.audit()
		lab.until("every decision was said again", self.producers.audited, 120)
		lab.until("all is published", lambda: self.daemon.metric("escrow_publish_pending") == 0, 120)
		undecided, pending = self.daemon.undecided(), self.daemon.metric("escrow_publish_pending")
		self.measures = self.measure()
		self.daemon.stop()
		self.producers.end()
		self.history.records(self.topics.each(*TOPICS, hashes=True))
		self.history.note("end", undecided=int(undecided), pending=int(pending))
		self.history.close()

	def measure(self):
		data = pathlib.Path(self.daemon.settings["data.dir"])
		return {"journal bytes": sum(f.stat().st_size for f in data.iterdir()), "rss": self.daemon.rss(),
			"open files": len(list(pathlib.Path("/proc/%d/fd" % self.daemon.process.pid).iterdir())),
			"producers rebuilt": int(self.log_count("kafka producer rebuilt")),
			"lanes frozen": int(self.log_count("lane frozen"))}

	def log_count(self, words):
		return len(re.findall(words, self.daemon.log.read_text(errors="replace")))

	def verdict(self):
		began = time.monotonic()
		result = judge.judge(history.read(self.history.path))
		result["checker seconds"] = round(time.monotonic() - began, 2)
		result["start seconds"] = judge.percentiles([s * 1000 for s in self.starts])
		result["measures"] = self.measures
		if result["verdict"] != "PASS":
			raise lab.Failed("%s; examples %s" % (result["verdict"], result["examples"]))
		return result


def quietly(*command):
	"""True when it worked."""
	return subprocess.run([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
			      check=False).returncode == 0


def pause(process, seconds, meanwhile=lambda: None):
	process.send_signal(signal.SIGSTOP)
	try:
		deadline = time.monotonic() + seconds
		while time.monotonic() < deadline:
			meanwhile()
			time.sleep(0.05)
	finally:
		process.send_signal(signal.SIGCONT)
