"""refusals.py -- frames that are well formed and ask for what must be refused.

Codes and remarks are the table of client/PROTOCOL.md section 6.
"""

import json
import zlib

from remoting import COMMIT, HALF, PLAIN, ROLLBACK, UNKNOWN, Peer

count = 0


def fresh():
	global count
	count += 1
	return "K%06d" % count


def expect(world, what, answer, code, remark=""):
	if answer.code != code or not answer.remark.startswith(remark):
		raise world.lab.Failed("%s: %r instead of code %d %s" % (what, answer, code, remark))
	return answer


def both(world):
	"""The same in both header encodings."""
	return [Peer(world.address, binary) for binary in (False, True)]


def life(world):
	"""The whole point: half-send, commit and rollback, each repeatable, none to be contradicted."""
	for peer in both(world):
		half = expect(world, "half", peer.half("g", "orders", b"body", fresh()), 0)
		if len(half.ext["transactionId"]) != 32 or int(half.ext["queueOffset"]) < 0:
			raise world.lab.Failed("odd tokens %r" % half.ext)
		expect(world, "unknown", peer.end("g", half, UNKNOWN), 0)
		expect(world, "commit", peer.end("g", half, COMMIT), 0)
		expect(world, "commit again", peer.end("g", half, COMMIT), 0)
		expect(world, "rollback after commit", peer.end("g", half, ROLLBACK), 4, "decided: committed")
		half = expect(world, "half", peer.half("g", "orders", b"body", fresh()), 0)
		expect(world, "rollback", peer.end("g", half, ROLLBACK), 0)
		expect(world, "rollback again", peer.end("g", half, ROLLBACK), 0)
		expect(world, "commit after rollback", peer.end("g", half, COMMIT), 4, "decided: rolled back")


def same_key(world):
	"""A retry after a lost answer must not become a second message, nor run a decided transaction again."""
	for peer in both(world):
		key = fresh()
		first = expect(world, "half", peer.half("g", "orders", b"same", key), 0)
		again = expect(world, "repeat", peer.half("g", "orders", b"same", key, [("color", "red")],
							  bornTimestamp="1800000000000", queueId="2"), 0)
		for token in ("transactionId", "msgId", "queueOffset"):
			if first.ext[token] != again.ext[token]:
				raise world.lab.Failed("a repeat has another %s" % token)
		packed = peer.half("g", "orders", zlib.compress(b"same"), key, flags=HALF | 1)
		expect(world, "the same body, compressed this time", packed, 0)
		gid = first.ext["transactionId"]
		expect(world, "another body", peer.half("g", "orders", b"other", key), 13, "key reused")
		expect(world, "another topic", peer.half("g", "invoices", b"same", key), 13, "key reused")
		other = expect(world, "another group's key", peer.half("h", "orders", b"same", key), 0)
		if other.ext["transactionId"] == gid:
			raise world.lab.Failed("two groups share a transaction")
		expect(world, "commit", peer.end("g", again, COMMIT), 0)
		expect(world, "repeat of a committed one", peer.half("g", "orders", b"same", key), 13,
		       "decided: committed, gid " + gid)
		second = expect(world, "on purpose", peer.half("g", "orders", b"same", key, [("__transactionId__", gid)]), 0)
		if second.ext["transactionId"] == gid:
			raise world.lab.Failed("a second send on purpose is the first transaction")
		key = fresh()
		first = expect(world, "half", peer.half("g", "orders", b"same", key), 0)
		expect(world, "rollback", peer.end("g", first, ROLLBACK), 0)
		again = expect(world, "repeat of a rolled back one", peer.half("g", "orders", b"same", key), 0)
		if again.ext["transactionId"] == first.ext["transactionId"]:
			raise world.lab.Failed("a rolled-back transaction lives again")


def stale_answer(world):
	"""An answer to a check from before a repeat was given about a transaction that had not begun."""
	peer = Peer(world.address)
	key = fresh()
	half = expect(world, "half", peer.half("g", "orders", b"x", key), 0)
	expect(world, "repeat", peer.half("g", "orders", b"x", key), 0)
	expect(world, "rollback by a check of generation 0",
	       peer.end("g", half, ROLLBACK, fromTransactionCheck="true"), 0, "stale")
	expect(world, "the client's own commit", peer.end("g", half, COMMIT), 0)


def wrong_tokens(world):
	"""Nobody may decide a transaction by counting, nor another group's."""
	for peer in both(world):
		half = expect(world, "half", peer.half("g", "orders", b"x", fresh()), 0)
		offset = int(half.ext["queueOffset"])
		for wrong in (offset ^ 256, offset ^ (1 << 40), 0, 2**63 - 1):
			expect(world, "token %d" % wrong, peer.end("g", half, COMMIT, tranStateTableOffset=str(wrong)), 16, "wrong token")
		expect(world, "wrong group", peer.end("thief", half, COMMIT), 16, "wrong group")
		for nowhere in ("999999999", str(2**63 - 1), "0"):
			expect(world, "no such transaction", peer.end("g", half, COMMIT, commitLogOffset=nowhere), 1, "not found")
		expect(world, "rollback with the right ones", peer.end("g", half, ROLLBACK), 0)


def bad_fields(world):
	"""A missing or odd field is told, and the connection lives on."""
	for peer in both(world):
		half = expect(world, "half", peer.half("g", "orders", b"x", fresh()), 0)
		for name in ("producerGroup", "tranStateTableOffset", "commitLogOffset", "commitOrRollback"):
			fields = peer.end_fields("g", half, COMMIT, **{name: None})
			expect(world, "END without " + name, peer.ask(37, fields), 13)
		for name in ("tranStateTableOffset", "commitLogOffset", "commitOrRollback"):
			for odd in ("", "x", "1x", "0x10", "99999999999999999999", "1.5"):
				fields = peer.end_fields("g", half, COMMIT, **{name: odd})
				expect(world, "END with %s=%r" % (name, odd), peer.ask(37, fields), 13)
		for name in ("producerGroup", "topic", "queueId", "sysFlag", "bornTimestamp"):
			fields = peer.half_fields("g", "orders", [("TRAN_MSG", "true"), ("PGROUP", "g")])
			del fields[name]
			expect(world, "half without " + name, peer.ask(10, fields, b"x"), 13)
		expect(world, "batch", peer.half("g", "orders", b"x", fresh(), batch="true"), 13)
		expect(world, "code 320", peer.ask(320, peer.half_fields("g", "orders", [], PLAIN), b"x"), 13)
		expect(world, "rollback", peer.end("g", half, ROLLBACK), 0)
	numbers = Peer(world.address)	# C++ sends numbers, and a newline behind them
	fields = numbers.half_fields("g", "orders", [("TRAN_MSG", "true"), ("PGROUP", "g"), ("UNIQ_KEY", fresh())])
	fields.update(queueId=0, sysFlag=4, flag=0, batch=False, AccessKey="", OnsChannel="ALIYUN", Signature="c2ln")
	expect(world, "numbers as ext values", numbers.ask(10, fields, b"x"), 0)


def bad_properties(world):
	"""What cannot become headers must be refused while a refusal is harmless: at half-send."""
	for peer in both(world):
		def half(props):
			return peer.ask(10, peer.half_fields("g", "orders", props), b"x")
		tran = "TRAN_MSG\x01true\x02PGROUP\x01g\x02"
		expect(world, "no separator", half(tran + "color"), 13)
		expect(world, "no name", half(tran + "\x01red\x02"), 13)
		expect(world, "a name of ours", half(tran + "escrow-id\x01mine\x02"), 13)
		expect(world, "DELAY", half(tran + "DELAY\x013\x02"), 13)
		for timer in ("TIMER_DELAY_SEC", "TIMER_DELIVER_MS", "TIMER_DELAY_MS"):
			expect(world, timer, half(tran + timer + "\x015\x02"), 13)
		expect(world, "32,513 bytes", half(tran + "p\x01" + "x" * (32513 - len(tran) - 3) + "\x02"), 13)
		expect(world, "32,512 bytes", half(tran + "p\x01" + "x" * (32512 - len(tran) - 3) + "\x02"), 0)
		expect(world, "1,025 properties", half(tran + "".join("p%d\x01v\x02" % i for i in range(1025))), 13)
		expect(world, "the last separator missing", half(tran + "color\x01red"), 0)
		expect(world, "an ESCROW_DB that is none", half(tran + "ESCROW_DB\x01xyz\x02"), 13)


def bad_topics(world):
	"""A name that cannot arrive must be told at half-send, not after the local commit."""
	for peer in both(world):
		expect(world, "route of nothing", peer.route("no-such-topic"), 17)
		expect(world, "half to nothing", peer.half("g", "no-such-topic", b"x", fresh()), 17)
		for name in ("", "a b", "a%b", "a|b", "ü", "x" * 128):
			expect(world, "topic %r" % name[:10], peer.half("g", name, b"x", fresh()), 13)
		for group in ("", "g" * 256):
			expect(world, "group of %d bytes" % len(group), peer.half(group, "orders", b"x", fresh()), 13)
		expect(world, "TBW102", peer.route("TBW102"), 0)
		route = peer.route("orders")
		data = json.loads(route.body)
		if route.body.find(b" ") >= 0 or data["queueDatas"][0]["writeQueueNums"] != 3:
			raise world.lab.Failed("route %r" % route.body)
		if data["brokerDatas"][0]["brokerAddrs"]["0"] != world.address:
			raise world.lab.Failed("the route does not lead back here: %r" % route.body)


def oversized(world):
	"""A message that Kafka or we would not take is refused before the local transaction runs."""
	for peer in both(world):
		expect(world, "just below the limit", peer.half("g", "orders", b"x" * (world.limit - 2000), fresh()), 0)
		expect(world, "above the limit", peer.half("g", "orders", b"x" * (world.limit + 1), fresh()), 13, "too big")
		expect(world, "far above", peer.half("g", "orders", b"x" * (4 << 20), fresh()), 13)
		expect(world, "the connection lives on", peer.route("orders"), 0)
		expect(world, "a key that is too long", peer.half("g", "orders", b"x", "k" * 256), 13)


def compression(world):
	"""A bomb must not blow, and what does not inflate must not be promised."""
	for peer in both(world):
		for flags, body in ((1, zlib.compress(b"\0" * (64 << 20), 9)), (1, b"no zlib"), (1, zlib.compress(b"x" * 5000)[:-6]),
				    (0x101, b"no lz4"), (0x201, b"no zstd"), (0x501, zlib.compress(b"x"))):
			expect(world, "sysFlag %#x" % flags, peer.half("g", "orders", body, fresh(), flags=HALF | flags), 13)
		for flags in (1, 0x301):
			expect(world, "zlib", peer.half("g", "orders", zlib.compress(b"y" * 9000), fresh(), flags=HALF | flags), 0)


def bad_json_bodies(world):
	"""A heartbeat that does not parse must not take the connection or another group's with it."""
	for peer in both(world):
		for body in (b"", b"{", b"null", b"[1]",
			     b'{"clientID":"x","producerDataSet":[{"groupName":"' + b"g" * 256 + b'"}]}', b"[" * 5000):
			expect(world, "heartbeat %r" % body[:40], peer.ask(34, {}, body), 13)
		expect(world, "a good one", peer.heartbeat("g"), 0)
		expect(world, "unregister", peer.ask(35, {"clientID": "127.0.0.1@test", "producerGroup": "g"}), 0)


def oneway(world):
	"""One-way requests are carried out and never answered, not even with an error."""
	for peer in both(world):
		half = expect(world, "half", peer.half("g", "orders", b"x", fresh()), 0)
		peer.send(37, peer.end_fields("g", half, COMMIT, tranStateTableOffset="1"), flag=2)
		peer.send(37, peer.end_fields("g", half, COMMIT), flag=2)
		peer.send(10, peer.half_fields("g", "no-such-topic", [], PLAIN), b"x", flag=2)
		answer = peer.end("g", half, ROLLBACK)
		expect(world, "the one-way commit was carried out", answer, 4, "decided: committed")


def plain(world):
	"""Plain sends are durable when answered and recognised when repeated."""
	for peer in both(world):
		fields = peer.half_fields("g", "orders", [("UNIQ_KEY", fresh())], PLAIN)
		first = expect(world, "plain", peer.ask(10, fields, b"plain"), 0)
		again = expect(world, "plain again", peer.ask(10, fields, b"plain"), 0)
		if first.ext["msgId"] != again.ext["msgId"]:
			raise world.lab.Failed("a repeated plain send is another message")
		expect(world, "an empty body", peer.half("g", "orders", b"", fresh()), 0)


SCENARIOS = (life, same_key, stale_answer, wrong_tokens, bad_fields, bad_properties, bad_topics, oversized, compression,
	     bad_json_bodies, oneway, plain)


def run(lab, args, folder, tally):
	from world import World
	with World(lab, args, folder) as world:
		return world.play(tally, "refusals", SCENARIOS)
