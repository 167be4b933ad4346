"""disk.py -- a disk that is full, and one that fails.

Full: half-sends are refused as "later", decisions and publications go on.  Failing: the
daemon stops at once, having answered nothing that it could not keep.
"""

import os
import pathlib
import signal
import subprocess

from remoting import COMMIT, ROLLBACK, Closed, Peer, Silence
from world import BUSY, World

EIO = 5
ENOSPC = 28
BODY = b"x" * 60000


def fill(world, prefix, most=4000):
	"""Half-sends until one is refused; the answered ones and the refusal."""
	peer = Peer(world.address)
	halves = []
	for i in range(most):
		answer = peer.half("g", "orders", BODY, "%s-%d" % (prefix, i))
		if answer.code != 0:
			return halves, answer
		halves.append(answer)
	raise world.lab.Failed("%d half-sends of %d bytes and the disk is not full" % (most, len(BODY)))


def full(world, halves, refusal):
	"""What must still work on a full disk."""
	if refusal.code != BUSY:
		raise world.lab.Failed("a half-send on a full disk is answered %r" % refusal)
	peer = Peer(world.address)
	for i, half in enumerate(halves[:len(halves) // 2]):
		answer = peer.end("g", half, COMMIT if i % 2 else ROLLBACK)
		if answer.code != 0:
			raise world.lab.Failed("decision %d on a full disk: %r" % (i, answer))
	world.lab.until("published on a full disk", lambda: world.daemon.metric("escrow_publish_pending") == 0, 60)
	world.daemon.kill()
	world.daemon.start()	# also on a full disk
	peer = Peer(world.address)
	for i, half in enumerate(halves):
		decided = i < len(halves) // 2
		answer = peer.end("g", half, COMMIT)
		wanted = 4 if decided and i % 2 == 0 else 0
		if answer.code not in ((wanted, 1) if decided else (wanted,)):	# 1: decided, published and forgotten
			raise world.lab.Failed("commit %d after a restart on a full disk: %r" % (i, answer))
	world.lab.until("published after the restart", lambda: world.daemon.metric("escrow_publish_pending") == 0, 60)
	world.lab.until("half-sends are taken again", lambda: Peer(world.address).half(
		"g", "orders", BODY, "after-%d" % os.getpid()).code == 0, 30)


def quota(world):
	"""journal.quota reached: the same as a full disk, but nobody else suffers."""
	halves, refusal = fill(world, "quota")
	full(world, halves, refusal)


def failing(world, kind, number):
	"""From one moment on, every call of the kind fails; the daemon must stop, and lose nothing."""
	trigger, log = world.folder / "trigger", world.folder / ("injected-" + kind)
	peer = Peer(world.address)
	halves = [peer.half("g", "orders", b"before %d" % i, "%s-before-%d" % (kind, i)) for i in range(20)]
	committed = halves[:10]
	for half in committed:
		if peer.end("g", half, COMMIT).code != 0:
			raise world.lab.Failed("commit before the fault")
	trigger.touch()
	try:
		answer = peer.half("g", "orders", b"lost", "%s-lost" % kind)
		if answer.code == 0:
			raise world.lab.Failed("a half-send was answered with success by a disk that fails")
	except (Closed, Silence):
		pass
	try:
		status = world.daemon.process.wait(20)
	except subprocess.TimeoutExpired:
		raise world.lab.Failed("it goes on with a disk that fails") from None
	if status != 3 and status != -signal.SIGABRT:
		raise world.lab.Failed("it ended with status %s" % status)
	if not log.exists() or log.stat().st_size == 0:
		raise world.lab.Failed("no fault was injected: nothing was shown")
	trigger.unlink()
	world.daemon.start()
	peer = Peer(world.address)
	for i, half in enumerate(halves):
		answer = peer.end("g", half, ROLLBACK)
		if answer.code != (4 if i < 10 else 0):
			raise world.lab.Failed("rollback of %d after the restart: %r" % (i, answer))


def eio(lab, args, parent, tally, kind):
	folder = parent / ("eio-" + kind)
	folder.mkdir()
	world = World(lab, args, folder)
	environment = {"LD_PRELOAD": str(pathlib.Path(args.fault).resolve()), "FAULT": "%s:%d" % (kind, EIO),
		       "FAULT_DIR": world.daemon.settings["data.dir"], "FAULT_TRIGGER": str(folder / "trigger"),
		       "FAULT_LOG": str(folder / ("injected-" + kind)),
		       "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}
	start = world.daemon.start
	world.daemon.start = lambda *a, **k: start(*a, env=environment, **k)

	def scenario(w):
		failing(w, kind, EIO)
	scenario.__name__ = "eio_on_" + kind
	with world:
		return world.play(tally, "disk", [scenario])


def ballast(path, spare=0):
	"""All that is left of a file system, but SPARE bytes."""
	with open(path, "wb", buffering=0) as f:
		while grow(f):
			os.fsync(f.fileno())	# ext4 sets more aside than it needs, and gives it back now
		f.truncate(max(0, f.tell() - spare))
		os.fsync(f.fileno())


def grow(f):
	"""Until there is no room any more; how much was written."""
	before = f.tell()
	try:
		while True:
			f.write(b"b" * (64 << 10))
	except OSError:
		return f.tell() - before


def start_without_room(world, mount):
	"""Not even one segment: a sentence and no daemon, and nothing that stays behind."""
	ballast(mount / "ballast", 2 << 20)
	try:
		words = world.daemon.refuses_to_start()
		if "the disk is full" not in words:
			raise world.lab.Failed("it refuses to start and says: %s" % words)
	finally:
		(mount / "ballast").unlink()


def others_fill_it(world, mount):
	"""Somebody else takes all that is left while the first segment still grows: the same daemon lives through it."""
	process = world.daemon.process
	ballast(mount / "ballast")
	try:
		halves = []

		def full():
			"""What reclaim finds dead makes room once more."""
			more, refusal = fill(world, "others-%d" % len(halves))
			halves.extend(more)
			if refusal.code != BUSY:
				raise world.lab.Failed("%d half-sends, then %r" % (len(halves), refusal))
			return world.daemon.metric("escrow_journal_full") == 1
		world.lab.until("it says that it is full", full)
		if not halves:
			raise world.lab.Failed("it was full before anybody sent")
		peer = Peer(world.address)
		for i, half in enumerate(halves):
			answer = peer.end("g", half, COMMIT if i % 2 else ROLLBACK)
			if answer.code != 0:
				raise world.lab.Failed("decision %d on a full disk: %r" % (i, answer))
		world.lab.until("published on a full disk", lambda: world.daemon.metric("escrow_publish_pending") == 0, 60)
	finally:
		(mount / "ballast").unlink()
	world.lab.until("half-sends are taken again", lambda: Peer(world.address).half(
		"g", "orders", BODY, "room-%d" % os.getpid()).code == 0, 30)
	if world.daemon.process is not process or not world.daemon.running():
		raise world.lab.Failed("it had to be started again: " + world.daemon.last_words())


def small_disk(lab, args, folder, tally):
	"""A small ext4 on a loop device, which needs root; without it a tmpfs is as good as none."""
	image, mount = folder / "image", folder / "mount"
	mount.mkdir()
	with open(image, "wb") as f:
		f.truncate(64 << 20)
	commands = (["mkfs.ext4", "-qF", str(image)], ["mount", "-o", "loop", str(image), str(mount)])
	if os.geteuid() != 0 or any(subprocess.run(c, capture_output=True).returncode for c in commands):
		print("SKIP disk small-file-system: no loop mounts here (the quota scenario covers the answers)", flush=True)
		return 0
	try:
		world = World(lab, args, folder, data__dir=str(mount / "data"))
		world.daemon.set(journal__quota="1GiB")
		world.scarce = True	# while the oldest segment is copied, for one
		(mount / "data").mkdir()

		def no_room_for_the_first_segment(w):
			w.daemon.kill()
			for file in (mount / "data").iterdir():
				file.unlink()
			start_without_room(w, mount)
			w.daemon.start()

		def others_fill_the_disk(w):
			others_fill_it(w, mount)

		def small_file_system(w):
			halves, refusal = fill(w, "small")
			full(w, halves, refusal)
		with world:
			return world.play(tally, "disk", [no_room_for_the_first_segment, others_fill_the_disk, small_file_system])
	finally:
		subprocess.run(["umount", str(mount)], capture_output=True)


def run(lab, args, folder, tally):
	failed = 0
	world = World(lab, args, lab.Folder("scenario-quota"))
	with world:
		failed += world.play(tally, "disk", [quota])
	world.folder.drop()
	for kind in ("write", "sync"):
		failed += eio(lab, args, folder, tally, kind)
	return failed + small_disk(lab, args, folder, tally)
