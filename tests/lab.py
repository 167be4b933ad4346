"""lab.py -- the processes that interop, crash and scenario tests are made of.

A real Kafka (scripts/kafka), the daemon under test, and what is asked of both.  Everything
lives in one temporary folder, listens on loopback and dies with the test: Kafka through
`scripts/kafka start --with`, all others through PR_SET_PDEATHSIG.
"""

import ctypes
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
SKIPPED = 77
LIBC = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
	"""A check did not hold: the message is what the user loses."""


class Void(Exception):
	"""What the test stands on broke, and says nothing of what is tested."""


class Skipped(Exception):
	"""Something outside of this tree is missing."""


def cache():
	return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "escrow"


def die_with_parent():
	LIBC.prctl(1, signal.SIGKILL)	# PR_SET_PDEATHSIG


def until(what, condition, seconds=30.0, every=0.05):
	"""Polls until the condition holds and returns its value; fails with WHAT.  Time in which we stood still ourselves
	(a suspended machine, a SIGSTOP) does not count."""
	deadline = time.monotonic() + seconds
	while True:
		value = condition()
		if value:
			return value
		if time.monotonic() > deadline:
			raise Failed("%s: not within %g s" % (what, seconds))
		before = time.monotonic()
		threading.Event().wait(every)
		still = time.monotonic() - before - every
		if still > 3:
			deadline += still


def lines(path):
	"""A file of JSON lines."""
	with open(path, encoding="utf-8") as f:
		for line in f:
			yield json.loads(line)


def free_port():
	"""Below the range that the kernel gives to clients: it stays free while its owner is dead."""
	while True:
		port = random.randrange(20000, 32000)
		with socket.socket() as s:
			try:
				s.bind(("127.0.0.1", port))
				return port
			except OSError:
				continue


class Folder:
	"""A temporary folder, kept when the test fails and says so."""

	def __init__(self, name):
		self.path = pathlib.Path(tempfile.mkdtemp(prefix="escrow-%s-" % name))

	def __truediv__(self, name):
		return self.path / name

	def drop(self):
		shutil.rmtree(self.path, ignore_errors=True)


class Kafka:
	"""A Kafka of its own, through scripts/kafka."""

	def __init__(self, folder, version="4.3.0"):
		self.dir = str(folder)
		self.version = version
		self.address = None

	def script(self, *args):
		done = subprocess.run([str(ROOT / "scripts/kafka"), *args, "--dir", self.dir],
				      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
		if done.returncode == SKIPPED:
			raise Skipped(done.stderr.strip().splitlines()[-1])
		if done.returncode not in (0, 3):
			raise Failed("scripts/kafka %s: %s" % (args[0], done.stderr.strip()))
		return done.stdout.strip()

	def start(self):
		self.address = self.script("start", "--version", self.version, "--with", str(os.getpid()))
		return self.address

	def kill(self):
		"""The signal itself first: the script takes its time."""
		os.kill(int((pathlib.Path(self.dir) / "pid").read_text().split()[0]), signal.SIGKILL)
		at = time.time()
		self.script("kill")
		return at

	def stop(self):
		self.script("stop")

	def wipe(self):
		self.script("wipe")


class Topics:
	"""tests/interop/topics.c: what Kafka holds."""

	def __init__(self, tool, address):
		self.tool = str(tool)
		self.address = address

	def run(self, *args):
		done = subprocess.run([self.tool, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
		if done.returncode != 0:
			raise Failed("topics %s: %s" % (args[0], done.stderr.decode().strip()))
		return [json.loads(line) for line in done.stdout.splitlines()]

	def create(self, *specs):
		self.run("create", self.address, *specs)

	def delete(self, *names):
		self.run("delete", self.address, *names)

	def ends(self, *names):
		return {(e["topic"], e["partition"]): e["high"] for e in self.run("ends", self.address, *names)}

	def count(self, *names):
		return sum(self.ends(*names).values())

	def dump(self, *names, hashes=False):
		return list(self.each(*names, hashes=hashes))

	def each(self, *names, hashes=False):
		"""One record after the other: a million do not fit as a list."""
		command = [self.tool, "dump", *(["--hash"] if hashes else []), self.address, *names]
		with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
			for line in process.stdout:
				yield json.loads(line)
		if process.returncode != 0:
			raise Failed("topics dump ended with %d" % process.returncode)


class Daemon:
	"""One escrowd; its log goes to a file and is watched for the ready line."""

	READY = re.compile(r'msg="?ready"?.* remoting=(\S+) http=(\S+)')

	def __init__(self, binary, folder, **settings):
		self.binary = str(binary)
		self.dir = pathlib.Path(folder)
		self.settings = {
			"data.dir": str(self.dir / "data"),
			"listen.address": "127.0.0.1:0",
			"http.address": "127.0.0.1:0",
		}
		self.settings.update({k.replace("__", "."): str(v) for k, v in settings.items()})
		self.process = None
		self.remoting = self.http = None
		self.log = self.dir / "escrowd.log"
		self.log_begin = 0

	def set(self, **settings):
		self.settings.update({k.replace("__", "."): str(v) for k, v in settings.items()})

	def command(self):
		args = [self.binary]
		for name, value in self.settings.items():
			args += ["--set", "%s=%s" % (name, value)]
		return args

	def launch(self, env=None, wrapper=()):
		"""Starts it and waits for nothing.  The log is a file: a test that sleeps must not hold the daemon up."""
		self.dir.mkdir(parents=True, exist_ok=True)
		pathlib.Path(self.settings["data.dir"]).mkdir(exist_ok=True)
		self.remoting = self.http = None
		with open(self.log, "ab") as log:
			self.log_begin = log.tell()
			self.process = subprocess.Popen([*wrapper, *self.command()], stdin=subprocess.DEVNULL,
							stdout=log, stderr=log, env={**os.environ, **(env or {})},
							preexec_fn=die_with_parent)

	def is_ready(self):
		with open(self.log, "rb") as log:
			log.seek(self.log_begin)
			found = self.READY.search(log.read().decode(errors="replace"))
		if found:
			self.remoting, self.http = found.groups()
		return bool(found)

	def start(self, seconds=60.0, **how):
		self.launch(**how)
		until("escrowd is ready or ended", lambda: self.is_ready() or not self.running(), seconds, 0.01)
		if not self.remoting and not self.is_ready():
			raise Failed("escrowd ended instead of starting, status %s: %s"
				     % (self.process.wait(), self.last_words()))
		return self

	def refuses_to_start(self, seconds=60.0, ready=False, **how):
		"""It must end by itself, with a status, never ready unless that is allowed; returns what it said."""
		self.launch(**how)
		try:
			status = self.process.wait(seconds)
		except subprocess.TimeoutExpired:
			self.kill()
			raise Failed("escrowd started although it should not") from None
		if self.is_ready() and not ready:
			raise Failed("escrowd became ready although it should not")
		if status <= 0:
			raise Failed("escrowd crashed instead of refusing, status %s" % status)
		return self.last_words()

	def last_words(self):
		lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
		return " | ".join(lines[-4:])

	def running(self):
		return self.process is not None and self.process.poll() is None

	def kill(self):
		if self.process:
			self.process.kill()
			self.process.wait()

	def stop(self, seconds=30.0):
		"""SIGTERM; it must drain and end with 0."""
		self.process.send_signal(signal.SIGTERM)
		try:
			status = self.process.wait(seconds)
		except subprocess.TimeoutExpired:
			self.kill()
			raise Failed("escrowd did not end within %g s of SIGTERM" % seconds) from None
		if status != 0:
			raise Failed("escrowd ended with status %s after SIGTERM: %s" % (status, self.last_words()))

	def rss(self):
		status = pathlib.Path("/proc/%d/status" % self.process.pid).read_text()
		return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) * 1024

	def get(self, path, body=None, method=None):
		"""(status, parsed JSON or text)"""
		data = json.dumps(body).encode() if body is not None else None
		request = urllib.request.Request("http://%s%s" % (self.http, path), data=data, method=method,
						 headers={"Content-Type": "application/json"} if data else {})
		try:
			with urllib.request.urlopen(request, timeout=10) as answer:
				status, text = answer.status, answer.read().decode()
		except urllib.error.HTTPError as e:
			status, text = e.code, e.read().decode()
		try:
			return status, json.loads(text)
		except ValueError:
			return status, text

	def metrics(self):
		"""Series of /metrics: name{labels} -> value."""
		series = {}
		for line in self.get("/metrics")[1].splitlines():
			if line and not line.startswith("#"):
				name, value = line.rsplit(" ", 1)
				series[name] = float(value)
		return series

	def metric(self, name, **labels):
		"""The sum of the series of that name which carry these labels."""
		total, seen = 0.0, False
		for series, value in self.metrics().items():
			if series.split("{")[0] == name and all('%s="%s"' % l in series for l in labels.items()):
				total, seen = total + value, True
		if not seen and not labels:
			raise Failed("no metric %s" % name)
		return total

	def undecided(self):
		return self.metric("escrow_transactions", state="prepared") + self.metric("escrow_transactions", state="parked")


class Mockd:
	"""tests/mockd: librdkafka's mock cluster as a process; see its README for the commands."""

	def __init__(self, binary, topics, absent=()):
		self.process = subprocess.Popen([str(binary)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
						bufsize=1, preexec_fn=die_with_parent)
		self.address = self.process.stdout.readline().strip()
		for topic in topics:
			self.tell("topic %s 3" % topic)
		for topic in absent:	# it makes every topic that is asked for, unless told
			self.tell("topic-error %s 3" % topic)

	def tell(self, command):
		self.process.stdin.write(command + "\n")
		answer = self.process.stdout.readline().strip()
		if answer != "ok":
			raise Failed("mockd %s: %s" % (command, answer))

	def check(self):
		"""Has it ended by itself?  The mock has assertions that real clients can break (mockd.c knows one)."""
		if self.process.poll() is not None:
			raise Void("the mock of Kafka ended by itself, status %d" % self.process.returncode)

	def kill(self):
		self.process.kill()
		self.process.wait()


VOIDS = 3


def again(attempt):
	"""Runs ATTEMPT, and again when it was void; a run that is void every time has failed."""
	for _ in range(VOIDS):
		try:
			return attempt()
		except Void as e:
			why = e
			print("VOID %s" % e, file=sys.stderr, flush=True)
	raise Failed("void %d times: %s" % (VOIDS, why))


def maven_jars(pom, name, *properties):
	"""The jars of a POM's dependencies, from a cache outside of the tree."""
	lib = cache() / name / "lib"
	if lib.is_dir():
		return lib
	if not shutil.which("mvn"):
		raise Skipped("Maven is missing (apt-get install maven)")
	fresh = cache() / ("%s.new.%d" % (name, os.getpid()))
	command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime",
		   "-DoutputDirectory=%s" % (fresh / "lib"), *["-D" + p for p in properties]]
	for offline in (["-o"], []):
		done = subprocess.run(command + offline, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
		if done.returncode == 0:
			break
	if done.returncode != 0:
		shutil.rmtree(fresh, ignore_errors=True)
		errors = [l for l in done.stdout.splitlines() if "ERROR" in l] or ["no reason given"]
		raise Skipped("%s could not be had from Maven Central: %s" % (name, errors[0][:200]))
	try:
		fresh.rename(lib.parent)
	except OSError:		# somebody else was faster
		shutil.rmtree(fresh)
	return lib


class Tally:
	"""One PASS or FAIL line a scenario, and the exit status."""

	def __init__(self, quiet=False):
		self.failed = []
		self.passed = 0

	def passes(self, name):
		self.passed += 1
		print("PASS %s" % name, flush=True)

	def fails(self, name, why):
		self.failed.append(name)
		print("FAIL %s: %s" % (name, why), flush=True)

	def end(self):
		print("%d passed, %d failed" % (self.passed, len(self.failed)), flush=True)
		return 1 if self.failed or not self.passed else 0


def skip(why):
	print("SKIP: %s" % why, file=sys.stderr, flush=True)
	sys.exit(SKIPPED)
