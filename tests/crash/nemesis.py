"""nemesis.py -- everything else that goes wrong around a daemon, one kind at a time, and then all at once.

Each schedule is a round of SECONDS: its fault strikes, is mended, strikes again.  A fault says itself
whether it took effect, by what it saw: packets dropped, responses lost, half-sends refused.

  producers   S3   producers die with what they had under way
  pause       S4   Kafka stands still
  responses   S5   a fifth of Kafka's responses is lost
  bytes            connections to Kafka are slow, and reset after some bytes
  kafka       S6   the daemon and Kafka cannot reach each other
  clients     S6   nor can the producers and the daemon
  disk        S7   the disk is full, and freed again
  eio         S8   one sync fails: the daemon ends, and is started again
  clock       S9   the wall clock jumps by a day, there and back
  two         S10  the daemon stands still, a second one wants its journal, the first goes on
  stopped          the daemon stands still for longer than its producers wait
  all         S11  any of these, and kill -9

S1 is `powercut`, S2 is `kills`; S12 needs a second version.
"""

import os
import random
import shutil
import signal
import subprocess
import time

import lab
import powercut
import producers
import shim
import stage

FAILED_DISK = 3


class Firewall:
	"""Packets on loopback to or from a port are dropped; without iptables there is only the proxy."""

	def __init__(self):
		self.works = os.geteuid() == 0 and shutil.which("iptables") and stage.quietly("iptables", "-w", "-n", "-L", "INPUT")
		self.rules = []

	def cut(self, port, ways=("--dport", "--sport")):
		for way in ways:
			rule = ["INPUT", "-i", "lo", "-p", "tcp", way, str(port), "-j", "DROP"]
			if not stage.quietly("iptables", "-w", "-I", *rule):
				raise lab.Failed("iptables took no rule")
			self.rules.append(rule)

	def dropped(self):
		said = subprocess.run(["iptables", "-w", "-nvxL", "INPUT"], stdout=subprocess.PIPE, text=True, check=True).stdout
		ports = {rule[6] for rule in self.rules}
		return sum(int(line.split()[0]) for line in said.splitlines()
			   if "DROP" in line and line.rsplit(":", 1)[-1].strip() in ports)

	def mend(self):
		while self.rules:
			if not stage.quietly("iptables", "-w", "-D", *self.rules.pop()):
				raise lab.Failed("iptables did not take a rule back")


class World:
	"""A round with all the means to break it."""

	def __init__(self, args, r, disk, rnd):
		self.args, self.round, self.disk, self.random = args, r, disk, rnd
		self.control = shim.Control(r.folder / "control")
		self.env = self.control.preload(args)
		self.firewall = Firewall()

	def some(self, least, most):
		return least + self.random.random() * (most - least)

	def wait(self, least, most):
		self.round.load(self.some(least, most))

	def pending(self):
		return self.round.daemon.metric("escrow_publish_pending")

	def restart(self):
		self.round.start(env=self.env)

	# -- the faults: each strikes, is mended, and says whether it took effect ---------------

	def producers(self):
		before = self.round.producers.killed_with
		self.control.sync_delay(0.01)	# they wait longer for their answers
		self.wait(0.05, 0.1)
		self.round.producers.crash()
		self.wait(0.02, 0.1)
		self.control.sync_delay(0)
		return self.round.producers.killed_with > before

	def pause(self):
		stage.pause(self.round.kafka.process, self.some(0.5, min(5, self.args.seconds / 2)))
		return self.pending() > 0

	def responses(self):
		return self.troubled(drop=0.2)

	def bytes(self):
		return self.troubled(delay=0.05, cut_after=1500)

	def troubled(self, **how):
		proxy = self.round.proxy
		before = proxy.dropped + proxy.cut
		for name, value in how.items():
			setattr(proxy, name, value)
		self.wait(1, 2)
		proxy.calm()
		return proxy.dropped + proxy.cut > before

	def kafka(self):
		"""All packets, or those of one direction."""
		if not self.firewall.works:
			self.round.proxy.hold = True
			self.wait(0.5, 3)
			held = self.round.proxy.held
			self.round.proxy.calm()
			return held > 0
		self.firewall.cut(self.round.proxy.port, self.random.choice((("--dport",), ("--sport",), ("--dport", "--sport"))))
		return self.mended()

	def clients(self):
		if not self.firewall.works:
			raise lab.Skipped("no iptables here")
		self.firewall.cut(self.round.port, self.random.choice((("--dport",), ("--sport",))))
		return self.mended()

	def mended(self):
		try:
			self.wait(0.5, 4)
			return self.firewall.dropped() > 0
		finally:
			self.firewall.mend()

	def full(self):
		"""Kafka is away meanwhile, or what is published would make room for more."""
		ballast, codes, proxy = self.disk.mount / "ballast", self.round.producers.codes, self.round.proxy
		before = codes["half 2"]
		proxy.hold = True
		fill(ballast)
		deadline = time.monotonic() + 20
		while codes["half 2"] == before and time.monotonic() < deadline:
			self.wait(0.05, 0.05)
		self.wait(0.2, 0.4)
		refused = codes["half 2"] > before
		proxy.calm()	# decisions and publications go on
		lab.until("published on a full disk", lambda: self.pending() == 0, 60)
		ballast.unlink()
		taken = codes["half 0"]
		lab.until("half-sends are taken again on a disk that was freed", lambda: codes["half 0"] > taken, 90)
		return refused

	def eio(self):
		if not shutil.which("strace"):
			raise lab.Skipped("strace is missing (apt-get install strace)")
		daemon = self.round.daemon
		with subprocess.Popen(["strace", "-f", "-qq", "-o", str(self.round.folder / "strace.out"), "-e", "trace=fdatasync",
				       "-e", "inject=fdatasync:error=EIO:when=1", "-p", str(daemon.process.pid)]) as tracer:
			try:
				lab.until("it ends after an EIO", lambda: not daemon.running(), 20)
			finally:
				tracer.kill()
		if daemon.process.returncode != FAILED_DISK:
			raise lab.Failed("after an EIO it ended with %d: %s" % (daemon.process.returncode, daemon.last_words()))
		self.restart()
		return True

	def clock(self):
		before, _ = self.control.counts()
		self.control.wall(self.random.choice((-86400, -3600, 3600, 86400)))
		self.wait(0.3, 0.8)
		self.control.wall(0)
		self.wait(0.1, 0.3)
		return self.control.counts()[0] > before

	def two(self):
		first = self.round.daemon
		second = lab.Daemon(self.args.daemon, self.round.folder / "second")
		second.settings.update(first.settings, **{"listen.address": "127.0.0.1:0"})
		first.process.send_signal(signal.SIGSTOP)
		try:
			words = second.refuses_to_start()
		finally:
			first.process.send_signal(signal.SIGCONT)
		if "another daemon" not in words:
			raise lab.Failed("the refusal does not say why: " + words)
		return True

	def stopped(self):
		timed_out = self.round.producers.timeouts
		stage.pause(self.round.daemon.process, self.round.producers.settings.timeout + self.some(0.2, 1.5))
		self.round.progress(1)
		return self.round.producers.timeouts > timed_out

	def kill(self):
		self.round.daemon.kill()
		self.restart()
		return True


def fill(path):
	"""Until nothing is left of the file system."""
	with open(path, "wb", buffering=0) as f:
		for piece in (bytes(1 << 20), bytes(4096)):
			try:
				while True:
					f.write(piece)
			except OSError:
				pass


ALL = ("producers", "pause", "responses", "bytes", "kafka", "clients", "eio", "clock", "two", "stopped", "kill")
SCHEDULES = {	# the faults, how long all is well in between, and what else the plan needs
	"producers": (("producers",), 0.05, {"ambiguous": 3}),
	"pause": (("pause",), 0.3, {}),
	"responses": (("responses",), 0.3, {}),
	"bytes": (("bytes",), 0.3, {}),
	"kafka": (("kafka",), 0.3, {}),
	"clients": (("clients",), 0.3, {}),
	"disk": (("full",), 0.3, {}),
	"eio": (("eio",), 0.3, {"ambiguous": 1}),
	"clock": (("clock",), 0.1, {}),
	"two": (("two",), 0.3, {}),
	"stopped": (("stopped",), 0.5, {"ambiguous": 5}),
	"all": (ALL, 0.2, {"ambiguous": 5}),
}


def play(args, tally):
	for number, name in enumerate(SCHEDULES):
		wanted = args.only.split(",") if args.only else SCHEDULES
		if name not in wanted:
			continue
		try:
			tally.add("nemesis", one_round(args, args.seed + number, name))
		except lab.Skipped as e:
			print("SKIP nemesis %s: %s" % (name, e), flush=True)


def one_round(args, seed, name):
	rnd = random.Random(seed)
	load = producers.Settings(rate=1500, body=(1000, 4000)) if name == "disk" else producers.Settings()
	settings = {"kafka__socket__timeout__ms": 1000, "kafka__reconnect__backoff__max__ms": 200}
	if name == "disk":
		settings["journal__quota"] = "1GiB"
	with stage.Round(args, name, seed, load=load, proxied=True, **settings) as r:
		disk = powercut.LoopDisk(r.folder, 48) if name == "disk" else None
		w = World(args, r, disk, rnd)
		try:
			if disk:
				r.daemon.settings["data.dir"] = str(disk.mount / "data")
			return schedule(args, w, name)
		finally:
			w.firewall.mend()
			r.daemon.kill()
			if disk:
				disk.detach()


def schedule(args, w, name):
	"""Every kind that it has once, and then any, while there is time."""
	r = w.round
	kinds, calm, need = SCHEDULES[name]
	r.plan(rollback=10, answer=3, **need, **{kind: 1 for kind in kinds})
	r.begin(env=w.env)
	first = w.random.sample(kinds, len(kinds))
	deadline = time.monotonic() + args.seconds
	while first or time.monotonic() < deadline:
		kind = first.pop() if first else w.random.choice(kinds)
		r.load(calm)
		r.fault(kind)
		r.healed(kind, effective=getattr(w, kind)())
		r.progress(1)
	r.rest()
	result = r.verdict()
	for kind, n in result["faults"].items():
		if 2 * result["effective"][kind] < n:
			raise lab.Failed("vacuous: %s took effect %d times of %d" % (kind, result["effective"][kind], n))
	result["seed"] = "%d (%s)" % (r.seed, name)
	result["lost responses"], result["cut connections"] = r.proxy.dropped, r.proxy.cut
	return result
