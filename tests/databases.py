"""databases.py -- private database servers for tests.

    with databases.Postgres() as db:
            db.url        "postgres:host=/tmp/... user=postgres dbname=postgres"
            db.other      a second database of the same server
            db.cut()      ends all connections to it

Each has a temporary folder with its data and its socket, listens nowhere else, and dies with this
process.  As root they run as the user of their package, for both refuse to be root.  Nothing is
synced: a test that kills the server's machine does not exist.
"""

import glob
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import tempfile

import lab


def program(name, *places):
	path = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", *places]))
	if not path:
		raise lab.Skipped("%s is missing" % name)
	return path


def run(command):
	"""Waits for COMMAND, which dies with us; 128 + signal when it was killed."""
	code = subprocess.Popen(command, preexec_fn=lab.die_with_parent).wait()
	return 128 - code if code < 0 else code


class Server:
	user = None	# whom it runs as when we are root

	def __init__(self):
		# /tmp: the path of a socket has at most 107 bytes
		self.dir = pathlib.Path(tempfile.mkdtemp(prefix="escrow-%s-" % self.name, dir="/tmp"))
		self.process = None

	def __enter__(self):
		try:
			self.start()
		except BaseException:
			self.stop()
			raise
		return self

	def __exit__(self, *_):
		self.stop()

	def stop(self):
		if self.process:
			self.process.send_signal(self.stop_signal)
			try:
				self.process.wait(20)
			except subprocess.TimeoutExpired:
				self.process.kill()
				self.process.wait()
		shutil.rmtree(self.dir, ignore_errors=True)

	def as_user(self):
		if os.getuid() != 0:
			return []
		try:
			who = pwd.getpwnam(self.user)
		except KeyError:
			raise lab.Skipped("there is no user %s" % self.user) from None
		os.chown(self.dir, who.pw_uid, who.pw_gid)
		return ["setpriv", "--reuid", str(who.pw_uid), "--regid", str(who.pw_gid), "--clear-groups", "--"]

	def folder(self, name):
		path = self.dir / name
		path.mkdir()
		if self.as_user():
			shutil.chown(path, self.user)
		return path

	def once(self, command):
		done = subprocess.run(self.as_user() + command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
				      cwd=self.dir)
		if done.returncode != 0:
			errors = [l for l in done.stdout.splitlines() if "ERROR" in l]
			raise lab.Failed("%s: %s" % (command[0], " | ".join(errors)[:500] or done.stdout.strip()[-500:]))

	def serve(self, command, ready):
		with open(self.dir / "log", "wb") as log:
			self.process = subprocess.Popen(self.as_user() + command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
							cwd=self.dir, preexec_fn=lab.die_with_parent)
		def is_ready():
			if self.process.poll() is not None:
				raise lab.Failed("%s: %s" % (command[0], (self.dir / "log").read_text()[-500:]))
			return ready()
		lab.until("%s does not come up" % self.name, is_ready, 60)


class Sqlite:
	name = "sqlite"

	def __enter__(self):
		memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
		self.dir = tempfile.mkdtemp(prefix="escrow-sqlite-", dir=memory)
		self.url, self.other = "sqlite:%s/db" % self.dir, "sqlite:%s/other" % self.dir
		return self

	def __exit__(self, *_):
		shutil.rmtree(self.dir, ignore_errors=True)

	def cut(self):
		return 0


class Postgres(Server):
	name = "postgres"
	user = "postgres"
	stop_signal = signal.SIGQUIT

	def start(self):
		homes = sorted(glob.glob("/usr/lib/postgresql/*/bin"),
			       key=lambda p: float(re.search(r"[\d.]+", p).group()), reverse=True)
		initdb, server = program("initdb", *homes), program("postgres", *homes)
		data = self.dir / "data"
		self.once([initdb, "-D", str(data), "-A", "trust", "-U", "postgres", "-N", "--no-instructions"])
		self.serve([server, "-D", str(data), "-k", str(self.dir), "-h", "", "-F", "-c", "max_connections=60",
			    "-c", "shared_buffers=32MB", "-c", "autovacuum=off"],
			   lambda: "ready to accept" in (self.dir / "log").read_text())
		self.psql = [program("psql", *homes), "-q", "-h", str(self.dir), "-U", "postgres", "-c"]
		self.once(self.psql + ["CREATE DATABASE other"])
		self.url = "postgres:host=%s user=postgres dbname=postgres" % self.dir
		self.other = "postgres:host=%s user=postgres dbname=other" % self.dir

	def query(self, text):
		"""The rows of the first database, as text; None: there is no such table."""
		done = subprocess.run([*self.psql[:-1], "-A", "-t", "-F", "\t", "-c", text], stdout=subprocess.PIPE,
				      stderr=subprocess.PIPE, text=True)
		if "does not exist" in done.stderr:
			return None
		if done.returncode != 0:
			raise lab.Failed("psql: %s" % done.stderr.strip())
		return [tuple(line.split("\t")) for line in done.stdout.splitlines()]

	def cut(self):
		"""Ends every connection, whatever it is at."""
		self.once(self.psql + ["SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
				       "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"])
		return 1


class Mysql(Server):
	name = "mysql"
	user = "mysql"
	stop_signal = signal.SIGKILL

	def start(self):
		server, install = program("mariadbd"), program("mariadb-install-db")
		data, socket = self.dir / "data", self.dir / "socket"
		# Of its own: a server that starts deletes what looks like temporary tables of nobody in its tmpdir.
		temporary = self.folder("tmp")
		self.once([install, "--no-defaults", "--datadir=%s" % data, "--tmpdir=%s" % temporary, "--auth-root-authentication-method=normal",
			   "--skip-test-db", "--innodb-log-file-size=16M", "--innodb-flush-log-at-trx-commit=0"])
		self.serve([server, "--no-defaults", "--datadir=%s" % data, "--tmpdir=%s" % temporary, "--socket=%s" % socket, "--skip-networking",
			    "--pid-file=%s" % (self.dir / "pid"), "--innodb-flush-log-at-trx-commit=0",
			    "--innodb-log-file-size=16M", "--innodb-buffer-pool-size=32M", "--skip-log-bin"],
			   lambda: "ready for connections" in (self.dir / "log").read_text())
		self.client = [program("mariadb"), "--no-defaults", "--socket=%s" % socket, "-uroot", "-e"]
		self.once(self.client + ["CREATE DATABASE escrow; CREATE DATABASE other"])
		self.url = "mysql:socket=%s user=root dbname=escrow" % socket
		self.other = "mysql:socket=%s user=root dbname=other" % socket

	def query(self, text):
		"""The rows of the first database, as text; None: there is no such table."""
		done = subprocess.run([*self.client[:-1], "-N", "-B", "escrow", "-e", text], stdout=subprocess.PIPE,
				      stderr=subprocess.PIPE, text=True)
		if "doesn't exist" in done.stderr:
			return None
		if done.returncode != 0:
			raise lab.Failed("mariadb: %s" % done.stderr.strip())
		return [tuple("" if v == "NULL" else v for v in line.split("\t")) for line in done.stdout.splitlines()]

	def cut(self):
		self.once(self.client + ["KILL USER root"])
		return 1


ENGINES = {"sqlite": Sqlite, "postgres": Postgres, "mysql": Mysql}
