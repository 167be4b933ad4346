"""frames.py -- bytes that are no RocketMQ frames, or not quite, or very slowly.

After each of them the daemon must still be there and serve an honest client at once: that is
what everybody else on the port would lose.
"""

import random
import socket
import struct

from remoting import Closed, Peer, Silence, binary_header, frame, json_header

SLOW_PEERS = 60
MIB = 1 << 20


def closes(world, data, why):
	peer = Peer(world.address)
	peer.raw(data)
	if not peer.is_closed(10):
		raise world.lab.Failed("%s: the connection stays open" % why)


def garbage(world):
	"""Somebody points a browser, a scanner or a broken client at the port."""
	rng = random.Random(1)
	closes(world, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP")
	for _ in range(200):
		peer = Peer(world.address)
		peer.raw(struct.pack(">II", rng.randrange(8, 4096), rng.choice([0, 1, 2, 0x7F]) << 24 | rng.randrange(1, 64)))
		try:
			peer.raw(rng.randbytes(4096))
		except Closed:
			pass
		peer.close()


def impossible_lengths(world):
	"""A length field that lies must not become an allocation, a wait for ever or a read beyond the frame."""
	for total in (0, 1, 3, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
		closes(world, struct.pack(">II", total, 16) + b"x" * 64, "total %#x" % total)
	closes(world, struct.pack(">II", (16 << 20) + 1, 16) + b"x" * 64, "one byte above 16 MiB")
	closes(world, struct.pack(">II", 20, 17) + b"x" * 64, "a header longer than its frame")
	closes(world, struct.pack(">II", MIB, 300 << 10) + b"x" * (301 << 10), "a header of 300 KiB")
	closes(world, frame(b"{}", b"", 2), "a header of an unknown type")


def broken_headers(world):
	"""A header that cannot be parsed leaves nothing to trust in the bytes behind it."""
	for header in (b"", b"{", b"[]", b"nonsense", b'{"code":"ten"}', b"[" * 20000, b'{"code":10,"extFields":{"a":' + b"[" * 2000 + b"]" * 2000 + b"}}", b"\xff\xfe{}"):
		closes(world, frame(header), "JSON header %r" % header[:30])
	good = binary_header(34, 1, 0, {"topic": "x"})
	for at, value in ((13, -1), (13, 1 << 30), (17, -5), (17, len(good))):
		bad = bytearray(good)
		struct.pack_into(">i", bad, at, value)
		closes(world, frame(bytes(bad), b"", 1), "binary length %d at %d" % (value, at))
	for n in range(len(good)):
		closes(world, frame(good[:n], b"", 1), "binary header cut after %d bytes" % n)


def truncated(world):
	"""A client that dies in the middle of a frame leaves nothing behind."""
	whole = Peer(world.address).encode(10, {"topic": "orders"}, b"x" * 100)
	for n in list(range(1, 12)) + [len(whole) // 2, len(whole) - 1]:
		peer = Peer(world.address)
		peer.raw(whole[:n])
		peer.socket.shutdown(socket.SHUT_WR)
		if not peer.is_closed(10):
			raise world.lab.Failed("cut after %d bytes: the connection stays" % n)


def byte_by_byte(world):
	"""A slow line is no crime: a whole request that comes in single bytes is answered."""
	for binary in (False, True):
		peer = Peer(world.address, binary)
		for b in peer.encode(105, {"topic": "orders"}):
			peer.raw(bytes([b]))
		if peer.read().code != 0:
			raise world.lab.Failed("no route")


def coalesced(world):
	"""Many requests in one write are all answered, each under its own number."""
	peer = Peer(world.address)
	peer.raw(b"".join(peer.encode(105, {"topic": "orders"}) for _ in range(500)))
	seen = {peer.read().opaque for _ in range(500)}
	if seen != set(range(1, 501)):
		raise world.lab.Failed("only %d of 500 answers" % len(seen))


def slow_peers_hold_little(world):
	"""Peers that begin large frames and never end them must not eat the memory of the honest ones."""
	before = world.daemon.rss()
	peers = []
	for _ in range(SLOW_PEERS):
		peer = Peer(world.address)
		peers.append(peer)
		peer.socket.settimeout(0.2)
		try:
			peer.raw(struct.pack(">II", world.limit, 64) + b"x" * (world.limit // 2))
		except (Closed, Silence, TimeoutError):
			pass	# not read: as good
		world.honest()
	grown = world.daemon.rss() - before
	if grown > 96 * MIB:
		raise world.lab.Failed("%d unfinished frames hold %d MiB" % (SLOW_PEERS, grown // MIB))
	for peer in peers:
		peer.close()


def unread_answers(world):
	"""A client that asks and never reads must not make the daemon keep all its answers."""
	before = world.daemon.rss()
	peer = Peer(world.address)
	peer.socket.settimeout(1)
	request = b"".join(peer.encode(105, {"topic": "orders"}) for _ in range(2000))
	try:
		for _ in range(400):
			peer.socket.sendall(request)
	except OSError:
		pass	# it stopped reading, or closed: both are right
	world.honest()
	grown = world.daemon.rss() - before
	if grown > 128 * MIB:
		raise world.lab.Failed("answers that nobody reads hold %d MiB" % (grown // MIB))


def unknown_code(world):
	"""A client of another version asks for something we do not have: it must be told, not dropped."""
	peer = Peer(world.address)
	answer = peer.ask(9999, {})
	if answer.code != 3 or "9999" not in answer.remark:
		raise world.lab.Failed("answered %r" % answer)
	peer.send(9999, {}, flag=2)	# one-way: must not be answered
	if peer.route("orders").code != 0:
		raise world.lab.Failed("the connection is out of step")


def wrong_protocol(world):
	"""The user of a 5.x gRPC client must find out from the log which client to take."""
	closes(world, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 40, "gRPC")
	world.lab.until("the log names the right client",
			lambda: "rocketmq-client" in world.daemon.log.read_text(errors="replace"), 5)
	closes(world, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100, "TLS")


def many_connections(world):
	"""Connections that come and go must not leak."""
	for _ in range(500):
		Peer(world.address).close()
	fds = world.open_files()
	for _ in range(500):
		peer = Peer(world.address)
		peer.raw(json_header(105, 1, 0, {})[:20])
		peer.close()
	world.lab.until("descriptors are closed", lambda: world.open_files() <= fds + 5, 10)


SCENARIOS = (garbage, impossible_lengths, broken_headers, truncated, byte_by_byte, coalesced, slow_peers_hold_little,
	     unread_answers, unknown_code, wrong_protocol, many_connections)


def run(lab, args, folder, tally):
	from world import World
	with World(lab, args, folder) as world:
		return world.play(tally, "frames", SCENARIOS)
