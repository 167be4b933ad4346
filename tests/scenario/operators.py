"""operators.py -- what a person at the HTTP port sees and does while producers work.

The whole way: a half-send through the data port, looked at, decided and counted through the
other.  What a hostile peer of that port can do is tests/unit/test_http.c's.
"""

import http.client
import json
import threading

from remoting import COMMIT, ROLLBACK, Peer

API = "/api/v1/transactions"
count = 0


def fresh(world, body=b"held", group="ops", topic="orders", more=()):
	"""A half message of a new key: (answer, key)."""
	global count
	count += 1
	key = "ops-%06d" % count
	peer = Peer(world.address)
	half = peer.half(group, topic, body, key, more)
	peer.close()
	if half.code != 0:
		raise world.lab.Failed("a half-send is answered %r" % half)
	return half, key


def ask(world, method, path, body=None, **headers):
	"""(status, parsed answer, headers)"""
	host, port = world.daemon.http.rsplit(":", 1)
	conn = http.client.HTTPConnection(host, int(port), timeout=10)
	headers = {k.replace("_", "-"): v for k, v in headers.items()}
	if body is not None:
		headers.setdefault("Content-Type", "application/json")
	conn.request(method, path, body=json.dumps(body) if body is not None else None, headers=headers)
	answer = conn.getresponse()
	text = answer.read().decode()
	conn.close()
	if text and not text.endswith("\n"):
		raise world.lab.Failed("%s does not end its line" % path)
	return answer.status, json.loads(text) if text.startswith("{") else text, answer.headers


def expect(world, what, got, status, **members):
	if got[0] != status:
		raise world.lab.Failed("%s: %s instead of %d: %s" % (what, got[0], status, got[1]))
	for name, value in members.items():
		if got[1].get(name) != value:
			raise world.lab.Failed("%s: %s is %r instead of %r" % (what, name, got[1].get(name), value))
	return got[1]


def gid_of(half):
	return half.ext["transactionId"].lower()


def command(world, gid, verb, **headers):
	return ask(world, "POST", "%s/%s:%s" % (API, gid, verb), {"reason": "asked on the phone", "who": "ann"}, **headers)


def look(world):
	"""What hangs must be seen: with its age, its messages and, on this machine, its payload."""
	half, key = fresh(world, b"two words", more=[("color", "red")])
	gid = gid_of(half)
	seen = expect(world, "the transaction", ask(world, "GET", "%s/%s?payload=text" % (API, gid)), 200,
		      gid=gid, state="prepared", group="ops", topic="orders", checks=0, messages=1, key=key,
		      decided=None, origin=None, body="journal", edge="rocketmq")
	part = seen["parts"][0]
	if part["payload"] != "two words" or part["value_bytes"] != 9:
		raise world.lab.Failed("the payload is %r" % part)
	if {"name": "color", "value": "red"} not in part["headers"]:
		raise world.lab.Failed("a header is missing: %r" % part["headers"])
	if not seen["timeline"] or seen["timeline"][0]["to"] != "prepared":
		raise world.lab.Failed("the timeline is %r" % seen["timeline"])
	if not 0 <= seen["age_ms"] < 600000 or not 0 < seen["next_check_in_ms"] <= 3600000:
		raise world.lab.Failed("age %r, next check in %r" % (seen["age_ms"], seen["next_check_in_ms"]))
	hidden = ask(world, "GET", "%s/%s" % (API, gid))[1]["parts"][0]
	if "payload" in hidden:
		raise world.lab.Failed("a payload is shown unasked")
	for query in ("id=" + gid, "group=ops&key=" + key, "state=prepared&topic=orders&order=newest&limit=1"):
		rows = ask(world, "GET", "%s?%s" % (API, query))[1]["transactions"]
		if [row["gid"] for row in rows] != [gid]:
			raise world.lab.Failed("?%s finds %r" % (query, rows))
	expect(world, "its commit", command(world, gid, "rollback"), 200)


def pages(world):
	"""Who follows the pages sees each transaction once, however they are cut."""
	made = [gid_of(fresh(world, group="paged")[0]) for _ in range(23)]
	for order in ("oldest", "newest"):
		seen, path = [], "%s?group=paged&state=prepared&limit=5&fields=gid&order=%s" % (API, order)
		for _ in range(1000):
			_, page, headers = ask(world, "GET", path)
			seen += [row["gid"] for row in page["transactions"]]
			if not page["next"]:
				break
			path = headers["Link"].split(">")[0][1:]
		if seen != (made if order == "oldest" else made[::-1]):
			raise world.lab.Failed("%s first: %d of %d, or out of order" % (order, len(seen), len(made)))
	for gid in made:
		expect(world, "rollback", command(world, gid, "rollback"), 200)


def decide(world):
	"""A decision by hand is final like any other: repeatable, not to be contradicted, and told the producer."""
	for verb, other, winner, mine, code in (("commit", "rollback", "commit", COMMIT, ROLLBACK),
						("rollback", "commit", "rollback", ROLLBACK, COMMIT)):
		half, _ = fresh(world)
		gid = gid_of(half)
		etag = ask(world, "GET", "%s/%s" % (API, gid))[2]["ETag"]
		expect(world, "a stale etag", command(world, gid, verb, If_Match='"1%s' % etag[1:]), 412, code="ESC-1206")
		expect(world, verb, command(world, gid, verb, If_Match=etag), 200, outcome="ok", gid=gid, verb=verb)
		expect(world, "the same again", command(world, gid, verb), 200)
		expect(world, "the other way", command(world, gid, other), 409, code="ESC-1203", winner=winner)
		seen = expect(world, "the decided one", ask(world, "GET", "%s/%s" % (API, gid)), 200, origin="operator")
		if seen["state"] not in ("committed", "published", "rolled_back") or seen["decided"] is None:
			raise world.lab.Failed("decided, and yet %r" % seen)
		peer = Peer(world.address)
		if peer.end("ops", half, mine).code != 0 or peer.end("ops", half, code).code != 4:
			raise world.lab.Failed("the producer is told another decision than %s" % verb)
		peer.close()
	expect(world, "an unknown gid", command(world, "0" * 31 + "1", "commit"), 404, code="ESC-1201")
	gid = gid_of(fresh(world)[0])
	for verb in ("retry", "discard", "resume"):
		got = command(world, gid, verb)
		if verb != "resume" or got[0] != 200:	# resuming what is not parked changes nothing
			expect(world, verb + " of a prepared one", got, 409, code="ESC-1205", state="prepared")
	expect(world, "rollback", command(world, gid, "rollback"), 200)


def count_and_state(world):
	"""Alerts stand on these numbers: they must move with what happens, and the probes with the daemon."""
	world.lab.until("all that was committed is published",
			lambda: world.daemon.metric("escrow_publish_pending") == 0)
	before = world.daemon.metrics()
	half, _ = fresh(world)
	peer = Peer(world.address)
	peer.heartbeat("ops")
	peer.end("ops", half, COMMIT)
	gid = gid_of(half)
	world.lab.until("the message is published",
			lambda: ask(world, "GET", "%s/%s" % (API, gid))[1]["state"] == "published")
	after = world.daemon.metrics()
	for name, more in (('escrow_half_sends_total{result="ok"}', 1),
			   ('escrow_decisions_total{decision="commit",origin="client"}', 1),
			   ('escrow_publish_total{result="acknowledged"}', 1),
			   ("escrow_half_send_duration_seconds_count", 1),
			   ("escrow_decision_delay_seconds_count", 1),
			   ("escrow_publish_duration_seconds_count", 1)):
		if after[name] - before[name] != more:
			raise world.lab.Failed("%s went from %g to %g" % (name, before[name], after[name]))
	if after["escrow_kafka_up"] != 1 or after['escrow_connections'] < 1:
		raise world.lab.Failed("kafka_up %g, connections %g" % (after["escrow_kafka_up"], after["escrow_connections"]))
	for name in ("escrow_journal_sync_duration_seconds", "escrow_journal_group_records"):
		if not 0 < after[name + "_sum"] or not after[name + "_count"] > before[name + "_count"]:
			raise world.lab.Failed("%s does not count" % name)
	status = expect(world, "status", ask(world, "GET", "/api/v1/status"), 200, state="serving")
	if status["transactions"]["published"] < 1 or not status["kafka"]["up"]:
		raise world.lab.Failed("the status is %r" % status)
	groups = ask(world, "GET", "/api/v1/groups?limit=500")[1]["groups"]
	if [g["listeners"] for g in groups if g["group"] == "ops"] != [1]:
		raise world.lab.Failed("the groups are %r" % groups)
	topics = ask(world, "GET", "/api/v1/topics")[1]["topics"]
	if [t["partitions"] for t in topics if t["topic"] == "orders"] != [3]:
		raise world.lab.Failed("the topics are %r" % topics)
	if not any(c["address"].startswith("127.0.0.1:") for c in ask(world, "GET", "/api/v1/connections")[1]["connections"]):
		raise world.lab.Failed("no connection is shown")
	for path in ("/livez", "/startupz", "/readyz?require=kafka&verbose", "/healthz", "/api/v1/journal", "/api/v1/kafka", "/"):
		expect(world, path, ask(world, "GET", path), 200)
	peer.close()


def watermark(world):
	"""A fence row that is cleaned away too early lets a late commit through."""
	db_id = "00112233445566778899aabbccddeeff"
	half, _ = fresh(world, more=[("ESCROW_DB", db_id)])
	mark = ask(world, "GET", "/api/v1/watermarks?db_id=" + db_id)[1]["oldest_undecided_gid"]
	if not mark <= gid_of(half):
		raise world.lab.Failed("the watermark %s is past the undecided %s" % (mark, gid_of(half)))
	expect(world, "rollback", command(world, gid_of(half), "rollback"), 200)


def crowd(world):
	"""Many open dashboards must not stall each other, nor the producers."""
	host, port = world.daemon.http.rsplit(":", 1)
	failures = []

	def dashboard():
		conn = http.client.HTTPConnection(host, int(port), timeout=30)
		try:
			for path in ("/api/v1/status", API, "/metrics") * 3:
				conn.request("GET", path)
				answer = conn.getresponse()
				answer.read()
				if answer.status != 200:
					failures.append("%s: %d" % (path, answer.status))
		except OSError as e:
			failures.append(repr(e))
		conn.close()

	threads = [threading.Thread(target=dashboard) for _ in range(256)]
	for t in threads:
		t.start()
	world.honest()
	for t in threads:
		t.join()
	if failures:
		raise world.lab.Failed("%d of 256: %s" % (len(failures), failures[0]))


def check_now(world):
	"""The safest verb asks the producer at once: its answer decides."""
	half, _ = fresh(world)
	peer = Peer(world.address)
	peer.heartbeat("ops")
	expect(world, "check", command(world, gid_of(half), "check"), 200)
	world.lab.until("the check is counted",
			lambda: ask(world, "GET", "%s/%s" % (API, gid_of(half)))[1]["checks"] == 1)
	peer.close()
	expect(world, "rollback", command(world, gid_of(half), "rollback"), 200)


def state_of(world, gid):
	return ask(world, "GET", "%s/%s" % (API, gid))[1]["state"]


def becomes(world, gid, state):
	world.lab.until("%s is %s" % (gid, state), lambda: state_of(world, gid) == state, 60)


def parked(world):
	"""A producer that hears and never answers: kept and shown when its checks are used up, asked again on demand."""
	world.daemon.stop()
	before = dict(world.daemon.settings)
	world.daemon.set(check__max="1", check__interval="100ms", check__interval__max="100ms")
	world.daemon.start()
	half, _ = fresh(world, group="deaf", more=[("CHECK_IMMUNITY_TIME_IN_SECONDS", "1")])
	gid = gid_of(half)
	peer = Peer(world.address)
	peer.heartbeat("deaf")
	becomes(world, gid, "parked")
	rows = ask(world, "GET", API + "?state=parked&group=deaf")[1]["transactions"]
	if [row["gid"] for row in rows] != [gid] or rows[0]["checks"] != 1:
		raise world.lab.Failed("parked are %r" % rows)
	expect(world, "retry of a parked one", command(world, gid, "retry"), 409, code="ESC-1205", state="parked")
	world.daemon.kill()
	world.daemon.settings = before
	world.daemon.start()	# it survives, and nobody asks at full pace any more
	expect(world, "resume", command(world, gid, "resume"), 200, verb="resume", state="prepared")
	if Peer(world.address).end("deaf", half, COMMIT).code != 0:
		raise world.lab.Failed("what was parked cannot be committed any more")
	becomes(world, gid, "published")


def undeliverable(world):
	"""What Kafka refuses for good is kept, shown and counted, until a person says what is to become of it."""
	gids = []
	for _ in range(2):
		half, _ = fresh(world)
		world.lab.until("nothing else is on its way", lambda: world.daemon.metric("escrow_publish_pending") == 0)
		world.kafka.tell("errors 0 10 10")	# too large, twice: it is sent alone once more
		Peer(world.address).end("ops", half, COMMIT)
		gids.append(gid_of(half))
		becomes(world, gids[-1], "undeliverable")
	rows = ask(world, "GET", API + "?state=undeliverable&fields=gid,refused_code")[1]["transactions"]
	if sorted((r["gid"], r["refused_code"]) for r in rows) != sorted((g, 10) for g in gids):
		raise world.lab.Failed("undeliverable are %r, not %r" % (rows, gids))
	world.honest()	# the lane goes on
	world.daemon.kill()
	world.daemon.start()
	for gid in gids:
		if state_of(world, gid) != "undeliverable":
			raise world.lab.Failed("after a restart %s is %s" % (gid, state_of(world, gid)))
	expect(world, "rollback of it", command(world, gids[0], "rollback"), 409, code="ESC-1203", winner="commit")
	expect(world, "retry", command(world, gids[0], "retry"), 200, outcome="ok", verb="retry")
	becomes(world, gids[0], "published")
	expect(world, "discard", command(world, gids[1], "discard"), 200, outcome="ok", state="discarded")
	expect(world, "retry of what was discarded", command(world, gids[1], "retry"), 409, code="ESC-1205")


SCENARIOS = (look, pages, decide, count_and_state, watermark, check_now, parked, undeliverable, crowd)


def run(lab, args, folder, tally):
	from world import World
	with World(lab, args, folder) as world:
		return world.play(tally, "operators", SCENARIOS)
