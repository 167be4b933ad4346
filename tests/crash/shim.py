"""shim.py -- the other end of shim.c: slow syncs and a wall clock that jumps, while the daemon runs."""

import struct


class Control:
	def __init__(self, path):
		self.path = path
		path.write_bytes(bytes(40))

	def preload(self, args):
		"""The environment of a daemon that obeys it."""
		return {"LD_PRELOAD": str((args.tools / "shim.so").resolve()), "SHIM_CONTROL": str(self.path)}

	def put(self, offset, seconds):
		with open(self.path, "r+b") as f:
			f.seek(offset)
			f.write(struct.pack("<q", int(seconds * 1e9)))

	def wall(self, seconds):
		"""The wall clock is so much ahead, from now on."""
		self.put(0, seconds)

	def sync_delay(self, seconds):
		"""Each sync takes up to so much longer, from now on."""
		self.put(8, seconds)

	def counts(self):
		"""Readings of the wall clock that were changed, syncs that were delayed."""
		return struct.unpack_from("<qq", self.path.read_bytes(), 16)

	def syncing(self):
		"""Syncs that were asked for and have not begun."""
		return struct.unpack_from("<q", self.path.read_bytes(), 32)[0]
