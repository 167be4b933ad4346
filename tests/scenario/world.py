"""world.py -- a mock Kafka, a daemon and an honest client, for the scenarios to spoil."""

import pathlib

from remoting import COMMIT, Peer

TOPICS = ("orders", "invoices")
BUSY = 2


class World:
	limit = 256 << 10	# limits.message

	def __init__(self, lab, args, folder, **settings):
		self.lab, self.args, self.folder = lab, args, folder
		self.kafka = lab.Mockd(args.mockd, TOPICS, ["no-such-topic"])
		self.daemon = lab.Daemon(args.daemon, folder / "daemon", kafka__bootstrap__servers=self.kafka.address,
					 kafka__max__in__flight=1, limits__message="%dKiB" % (self.limit >> 10), check__immunity="1h",
					 http__admin__write="true", journal__segment="4MiB", journal__quota="64MiB", **settings)
		self.honest_halves = 0
		self.scarce = False	# the disk is small: an honest half-send may be told to come again

	def __enter__(self):
		self.daemon.start()
		return self

	def __exit__(self, *_):
		self.daemon.kill()
		self.kafka.kill()

	@property
	def address(self):
		return self.daemon.remoting

	def open_files(self):
		return len(list(pathlib.Path("/proc/%d/fd" % self.daemon.process.pid).iterdir()))

	def honest(self):
		"""One transaction as it should be, answered as it should be."""
		self.honest_halves += 1
		peer = Peer(self.address)

		def send():
			return peer.half("honest", "orders", b"honest %d" % self.honest_halves, "honest-%d" % self.honest_halves)
		half = send()
		if self.scarce and half.code == BUSY:
			self.lab.until("an honest half-send is taken", lambda: send().code == 0)
			half = send()
		if half.code != 0:
			raise self.lab.Failed("an honest half-send is answered %r" % half)
		answer = peer.end("honest", half, COMMIT)
		if answer.code != 0:
			raise self.lab.Failed("an honest commit is answered %r" % answer)
		peer.close()

	def play(self, tally, label, scenarios):
		"""Every scenario, and after each an honest client; the number of failures."""
		failed = 0
		for scenario in scenarios:
			name = "%s %s" % (label, scenario.__name__.replace("_", "-"))
			if self.args.only and self.args.only not in name:
				continue
			try:
				scenario(self)
				if not self.daemon.running():
					raise self.lab.Failed("the daemon is gone: " + self.daemon.last_words())
				self.honest()
				tally.passes(name)
			except Exception as e:  # whatever it is: the line says what happened
				failed += 1
				tally.fails(name, "%s%s" % ("" if isinstance(e, self.lab.Failed) else type(e).__name__ + ": ", e))
				if not self.daemon.running():
					self.daemon.start()
		return failed
