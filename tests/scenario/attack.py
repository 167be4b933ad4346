"""attack.py -- what is almost a request: valid bytes, spoiled a little, to both ports.

Noise is refused at its first byte; what hurts a parser is right up to one byte.  So every kind of
request is taken, in both encodings, and bits are flipped, pieces cut, doubled, swapped, and numbers
replaced by those at the edges.  One seed is one attack: `run --only attack --seed N`;
`--attack SECONDS` makes it long.  A spoiled request may well be a valid one: nobody here
minds how it is answered, but the daemon must be there, be honest to others, and give
its connections and its memory back.
"""

import json
import random
import socket
import struct
import threading

from remoting import COMMIT, ROLLBACK, UNKNOWN, Closed, Peer, Silence

EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
PARTS = (b"\x01", b"\x02", b"\x00", b"{", b"[" * 64, b'"', b"\\u0000", b"\xff", b"%00", b"\r\n", b"9" * 400, b"-1", b"/..")
BATCH = 200


def spoil(rng, data):
	"""DATA with one to four faults."""
	data = bytearray(data)
	for _ in range(rng.choice((1, 1, 1, 2, 4))):
		at = rng.randrange(len(data) + 1)
		to = min(len(data), at + rng.randrange(1, 24))
		kind = rng.randrange(8)
		if kind <= 1 and at < len(data):
			data[at] ^= 1 << rng.randrange(8)
		elif kind == 2 and at < len(data):
			data[at] = rng.randrange(256)
		elif kind == 3:
			del data[at:to]
		elif kind == 4:
			data[at:at] = data[at:to]
		elif kind == 5:
			data[at:at] = rng.choice(PARTS)
		elif kind == 6 and len(data) >= 8:
			size = rng.choice((1, 2, 4))
			at = rng.randrange(len(data) - size + 1)
			data[at:at + size] = (rng.choice(EDGES) & (1 << 8 * size) - 1).to_bytes(size, "big")
		elif kind == 7 and at < len(data):
			other = rng.randrange(len(data))
			data[at], data[other] = data[other], data[at]
	return bytes(data)


def refit(frame):
	"""The length word is made true again, so that what was spoiled is read at all."""
	return struct.pack(">I", len(frame) - 4) + frame[4:] if len(frame) >= 8 else frame


def requests(peer, half):
	"""One request of every kind, as bytes."""
	beat = {"clientID": "1@a", "producerDataSet": [{"groupName": "attack"}], "consumerDataSet": []}
	props = [("TRAN_MSG", "true"), ("PGROUP", "attack"), ("UNIQ_KEY", "k"), ("KEYS", "a b"), ("TAGS", "t"), ("DELAY", "0")]
	short = dict(zip("abcdefghijklm", peer.half_fields("attack", "orders", props).values()))
	yield peer.encode(105, {"topic": "orders"})
	yield peer.encode(34, {}, json.dumps(beat).encode())
	yield peer.encode(35, {"clientID": "1@a", "producerGroup": "attack", "consumerGroup": ""})
	yield peer.encode(10, peer.half_fields("attack", "orders", props), b"body" * 20)
	yield peer.encode(310, short, b"body" * 20)
	yield peer.encode(10, peer.half_fields("attack", "orders", props[2:], flags=0), b"plain")
	yield peer.encode(10, peer.half_fields("attack", "orders", props, flags=5), b"\x78\x9c\x4b\xca\x4f\xa9\x04\x00\x04\x00\x01\xb3")
	for decision in (COMMIT, ROLLBACK, UNKNOWN):
		yield peer.encode(37, peer.end_fields("attack", half, decision, fromTransactionCheck="true"))
	yield peer.encode(320, {}, b"batch")
	yield peer.encode(38, {"topic": "orders"})


def data_port(world, rng):
	"""BATCH spoiled frames, up to three on a connection."""
	peers = [Peer(world.address, binary) for binary in (False, True)]
	half = peers[0].half("attack", "orders", b"held", "attack-%d" % rng.getrandbits(60))
	samples = [data for peer in peers for data in requests(peer, half)]
	for peer in peers:
		peer.close()
	left = BATCH
	while left > 0:
		peer = Peer(world.address, timeout=0.05)
		try:
			for _ in range(rng.randrange(1, 4)):	# a bad one ends the connection
				left -= 1
				data = spoil(rng, rng.choice(samples))
				data = refit(data) if rng.randrange(4) else data
				if rng.randrange(8) == 0:
					cut = rng.randrange(len(data) + 1)
					peer.raw(data[:cut])
					peer.raw(data[cut:])
				else:
					peer.raw(data)
			peer.socket.recv(1 << 16)
		except (Closed, Silence, OSError):
			pass
		peer.close()


def http_port(world, rng):
	"""BATCH spoiled requests, some with a body, none waited for longer than it takes."""
	host, port = world.daemon.http.rsplit(":", 1)
	gid = "%032x" % rng.getrandbits(128)
	body = json.dumps({"reason": "attack", "etag": "1"}).encode()
	head = "Host: %s\r\nAccept: application/json\r\n" % host
	samples = [("GET %s HTTP/1.1\r\n%s\r\n" % (path, head)).encode() for path in (
		"/", "/livez", "/readyz?verbose", "/metrics", "/api/v1/status", "/api/v1/transactions?state=prepared&limit=10&group=a&min_age=1s",
		"/api/v1/transactions/" + gid, "/api/v1/topics", "/api/v1/groups", "/api/v1/transactions?after=%s&order=newest" % gid)]
	for verb in ("commit", "rollback", "check", "resume", "retry", "discard"):
		samples.append(("POST /api/v1/transactions/%s:%s HTTP/1.1\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
				% (gid, verb, head, len(body))).encode() + body)
	for _ in range(BATCH):
		with socket.create_connection((host, int(port)), 10) as s:
			s.settimeout(0.02)
			try:
				s.sendall(spoil(rng, rng.choice(samples)))
				s.recv(1 << 16)
			except OSError:
				pass


def alive(world):
	if not world.daemon.running():
		raise world.lab.Failed("the daemon is gone: " + world.daemon.last_words())
	status, _ = world.daemon.get("/livez")
	if status != 200:
		raise world.lab.Failed("/livez says %s" % status)
	world.honest()


def almost_requests(world):
	"""One byte of one request of one stranger must not end the service of all others."""
	seed = world.args.seed
	ended = threading.Event()
	threading.Timer(world.args.attack, ended.set).start()
	files = world.open_files()
	batches = 0
	while batches == 0 or not ended.is_set():
		rng = random.Random(seed + batches)
		try:
			data_port(world, rng)
			http_port(world, rng)
			alive(world)
		except Exception as e:
			raise world.lab.Failed("seed %d: %s: %s; again: --only attack --seed %d" % (
				seed + batches, type(e).__name__, e, seed + batches)) from None
		batches += 1
	world.lab.until("connections are given back", lambda: world.open_files() <= files + 8)
	if world.args.attack > 10:
		print("%d spoiled frames and %d spoiled HTTP requests, seeds %d to %d, %d MiB resident" % (
			batches * BATCH, batches * BATCH, seed, seed + batches - 1, world.daemon.rss() >> 20), flush=True)


SCENARIOS = (almost_requests,)


def run(lab, args, folder, tally):
	from world import World
	with World(lab, args, folder) as world:
		return world.play(tally, "attack", SCENARIOS)
