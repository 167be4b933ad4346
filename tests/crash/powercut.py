"""powercut.py -- the power fails while the daemon writes (schedule S1), with torn pages.

The journal lies on an ext4 of its own, on a loop device.  At a moment under load the daemon is stopped
between two instructions; of the journal's dirty pages some are written out, as a disk may; then
the file system is shut down without flushing its log.  All that was not synced is gone, with
holes.  Some cuts leave the daemon running, and nobody hears it: a sync that is under way when ext4
is shut down may be told that all is well though its extents are gone, and a machine without power
answers nobody.  Who asks afterwards meets writes that fail: it must end by itself.
Some hit the start after a cut.  Syncs are slowed down (shim.c), and most cuts wait for one
that has been asked for and has not begun: at any other moment there may be nothing to lose.

A cut counts when the disk lost a page that the page cache had; it was torn when it also kept a later one.
"""

import json
import os
import pathlib
import random
import signal
import subprocess
import time

import lab
import producers
import shim
import stage

SHARE = 50	# cuts of one round
PAGE = 4096
NOT_STARTED, FAILED_DISK = 2, 3	# how the daemon ends when its disk fails


class LoopDisk:
	"""A small ext4 on a loop device."""

	def __init__(self, folder, mib):
		self.image, self.mount = folder / "disk.img", folder / "disk"
		self.mount.mkdir()
		with open(self.image, "wb") as f:
			f.truncate(mib << 20)
		if os.geteuid() != 0:
			raise lab.Skipped("a loop device needs root")
		if not stage.quietly("mkfs.ext4", "-qF", self.image):
			raise lab.Skipped("no ext4 can be made here (mkfs.ext4)")
		self.mounted = False
		self.attach()

	def attach(self):
		if not stage.quietly("mount", "-o", "loop", self.image, self.mount):
			raise lab.Skipped("no loop device can be mounted here")
		self.mounted = True

	def detach(self):
		"""A process that was killed may hold it for a moment more."""
		if self.mounted:
			lab.until("the file system is free", lambda: stage.quietly("umount", self.mount), 10, 0.005)
			self.mounted = False


class Cutter:
	def __init__(self, args, r, disk, control, rnd):
		self.args, self.round, self.disk, self.control, self.random = args, r, disk, control, rnd
		self.copies = r.folder / "copies"
		self.copies.mkdir()
		self.seconds = []
		self.lost = self.torn = self.lost_pages = self.ended_itself = self.at_start = 0

	def cut(self):
		"""Power off and on again; the daemon is gone afterwards."""
		r = self.round
		began = time.monotonic()
		process = r.daemon.process
		stopped = self.random.random() < 0.8
		if self.random.random() < 0.8:
			self.await_sync()
		r.fault("powercut")
		if stopped:
			process.send_signal(signal.SIGSTOP)
		else:
			r.producers.cut_off()
		percent = self.random.choice((0, 10, 30, 50, 70))
		for old in self.copies.iterdir():
			old.unlink()
		done = subprocess.run([str(self.args.tools / "cut"), str(self.disk.mount), r.daemon.settings["data.dir"],
				       str(self.random.randrange(1 << 31)), str(percent), str(self.copies)],
				      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
		if done.returncode != 0:
			raise lab.Skipped("no power cut here: " + done.stderr.strip())
		if not stopped:
			r.producers.plug_in()
			self.must_end(process)
		r.daemon.kill()
		self.disk.detach()
		self.disk.attach()
		lost = self.compare([line.split() for line in done.stdout.splitlines()])
		self.seconds.append(time.monotonic() - began)
		return lost

	def await_sync(self):
		"""Until something waits to be synced, but not for ever: nobody may be writing."""
		deadline = time.monotonic() + 1
		while not self.control.syncing() and time.monotonic() < deadline:
			time.sleep(0.0005)

	def must_end(self, process):
		"""Nothing can be written any more: it must say so and end, or wait for somebody to write."""
		try:
			status = process.wait(0.2)
		except subprocess.TimeoutExpired:
			return
		if status != (FAILED_DISK if self.round.daemon.is_ready() else NOT_STARTED):
			raise lab.Failed("on a dead disk it ended with %d: %s" % (status, self.round.daemon.last_words()))
		self.ended_itself += 1

	def compare(self, written):
		"""What the page cache had and the disk has not."""
		data = pathlib.Path(self.round.daemon.settings["data.dir"])
		lost_pages, torn = 0, False
		for copy in self.copies.iterdir():
			had = copy.read_bytes()
			path = data / copy.name
			has = path.read_bytes() if path.exists() else b""
			lost = [] if had == has else [n for n in range(len(had) // PAGE)
						      if had[n * PAGE:(n + 1) * PAGE] != has[n * PAGE:(n + 1) * PAGE]]
			lost_pages += len(lost)
			torn |= any(name == copy.name and lost and int(page) > lost[0] for name, page in written)
		self.lost += lost_pages > 0
		self.lost_pages += lost_pages
		self.torn += torn
		return lost_pages > 0


def play(args, tally):
	left, number = args.count, 0
	while left > 0:
		tally.add("powercut", one_round(args, args.seed + number, min(left, SHARE)))
		left -= SHARE
		number += 1


def one_round(args, seed, count):
	rnd = random.Random(seed)
	load = producers.Settings(rate=2000, window=24, body=(50, 3000))
	with stage.Round(args, "powercut", seed, load=load, journal__quota="32MiB") as r:
		disk = LoopDisk(r.folder, 96)
		try:
			return cuts(args, r, disk, rnd, count)
		finally:
			r.daemon.kill()
			disk.detach()


def cuts(args, r, disk, rnd, count):
	r.daemon.settings["data.dir"] = str(disk.mount / "data")
	control = shim.Control(r.folder / "control")
	env = control.preload(args)
	cutter = Cutter(args, r, disk, control, rnd)
	need, effective, rounds = count * 2 // 5, 0, 0
	r.plan(powercut=need, ambiguous=count, rollback=count, answer=count)
	r.begin(env=env)
	# On a busy machine fewer cuts find something unsynced: then it takes more of them.
	while rounds < count or (effective < need and rounds < 3 * count):
		rounds += 1
		control.sync_delay(rnd.choice((0.002, 0.01, 0.02)))
		r.load(0.05 + rnd.random() * 0.25)
		lost = cutter.cut()
		while rnd.random() < 0.2:	# and once more, while it recovers
			r.daemon.launch(env=env)
			r.load(rnd.random() * 0.05, running=False)
			cutter.at_start += 1
			cutter.cut()
			r.healed("powercut", effective=False)
		r.start(env=env)
		r.healed("powercut", effective=lost)
		effective += lost
		r.progress(10)
	control.sync_delay(0)
	r.rest()
	result = r.verdict()
	result.update({"cuts torn": cutter.torn, "lost something": cutter.lost, "lost pages": cutter.lost_pages,
		       "cuts of a start": cutter.at_start, "ended by itself": cutter.ended_itself,
		       "a cut, milliseconds": stage.judge.percentiles([s * 1000 for s in cutter.seconds])})
	if count >= 20 and cutter.torn < count // 10:
		raise lab.Failed("vacuous: %d of %d cuts were torn: %s" % (cutter.torn, count, json.dumps(result)))
	return result
