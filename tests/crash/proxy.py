"""proxy.py -- a TCP proxy before Kafka that loses what it should pass on.

It knows as much of Kafka's protocol as it needs: where a frame ends, so that it can lose one
response and pass the next; and where a Metadata response has the port of the broker, which becomes its
own, so that clients come back to it.  One broker behind it.

A lost response is the worst that Kafka can do to a producer: the records are there, and nobody knows.
"""

import random
import socket
import struct
import threading
import time

METADATA = 3
PIECE = 1 << 16


class Proxy:
	def __init__(self, target, seed):
		host, port = target.rsplit(":", 1)
		self.target = (host, int(port))
		self.random = random.Random(seed)
		self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
		self.port = self.listener.getsockname()[1]
		self.address = "127.0.0.1:%d" % self.port
		self.calm()
		self.dropped = self.delayed = self.cut = self.held = 0
		self.pairs = set()
		threading.Thread(target=self.accept, daemon=True).start()

	def calm(self):
		"""Passes on everything."""
		self.drop = 0.0		# of the responses
		self.delay = 0.0	# seconds, the longest a response waits
		self.cut_after = 0	# bytes of responses, then the connection is reset
		self.hold = False	# nothing passes, either way, and nothing is refused

	def close(self):
		self.listener.close()
		self.reset()

	def reset(self):
		"""Every connection, now."""
		for pair in list(self.pairs):
			for s in pair:
				shut(s)

	def accept(self):
		while True:
			try:
				client, _ = self.listener.accept()
				server = socket.create_connection(self.target)
			except OSError:
				if self.listener.fileno() < 0:
					return
				client.close()
				continue
			for s in (client, server):
				s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
			pair = (client, server)
			self.pairs.add(pair)
			versions = {}	# of the Metadata requests under way, by correlation id
			threading.Thread(target=self.pump, args=(pair, client, server, self.request, versions), daemon=True).start()
			threading.Thread(target=self.pump, args=(pair, server, client, self.response, versions), daemon=True).start()

	def pump(self, pair, source, sink, each, versions):
		held = b""
		state = {"left": self.cut_after}
		try:
			while True:
				more = source.recv(PIECE)
				if not more:
					break
				held += more
				while len(held) >= 4:
					n, = struct.unpack_from(">I", held)
					if len(held) < 4 + n:
						break
					frame, held = held[:4 + n], held[4 + n:]
					if self.hold:
						self.held += 1
						while self.hold:
							time.sleep(0.01)
					out = each(frame, versions, state)
					if out is not None:
						sink.sendall(out)
		except OSError:
			pass
		self.pairs.discard(pair)
		for s in pair:
			shut(s)

	def request(self, frame, versions, _):
		key, version, correlation = struct.unpack_from(">hhi", frame, 4)
		if key == METADATA:
			versions[correlation] = version
		return frame

	def response(self, frame, versions, state):
		correlation, = struct.unpack_from(">i", frame, 4)
		version = versions.pop(correlation, None)
		if version is not None:
			frame = self.redirect(frame, version)
		if self.delay:
			self.delayed += 1
			time.sleep(self.random.random() * self.delay)
		if self.random.random() < self.drop:
			self.dropped += 1
			return None
		if self.cut_after:
			state["left"] = (state["left"] or self.random.randrange(1, self.cut_after)) - len(frame)
			if state["left"] <= 0:
				self.cut += 1
				raise OSError("cut")
		return frame

	def redirect(self, frame, version):
		"""The ports of all brokers become ours."""
		if version > 8:
			raise AssertionError("Metadata version %d has another form" % version)
		out = bytearray(frame)
		at = 8 + (4 if version >= 3 else 0)
		count, = struct.unpack_from(">i", out, at)
		at += 4
		for _ in range(count):
			n, = struct.unpack_from(">h", out, at + 4)
			at += 6 + n
			struct.pack_into(">i", out, at, self.port)
			at += 4
			if version >= 1:
				n, = struct.unpack_from(">h", out, at)
				at += 2 + max(n, 0)
		return bytes(out)


def shut(s):
	try:
		s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
		s.shutdown(socket.SHUT_RDWR)
	except OSError:
		pass
	s.close()
