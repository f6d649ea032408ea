"""lab - what tests with a real mail server share: a private world to run it in, Debian packages
that are unpacked and not installed, the sink, the flood, Spoolward itself, and the sums.

Nothing of the host is touched. The world is a mount, pid and network namespace of its own: whatever
is started in it dies with the test, whatever is mounted in it vanishes, and no packet leaves it."""
import atexit
import collections
import ctypes
import fcntl
import json
import os
import random
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time

BUILD = os.path.abspath(os.environ.get("BUILD", "build"))
# Not /tmp: that is a RAM disk in many places, and a queue belongs on a real disk.
BASE = os.environ.get("TMPDIR", "/var/tmp")
DEADLINE = int(os.environ.get("DEADLINE", "120"))  # seconds that anything may take on a loaded machine before it counts as broken

libc = ctypes.CDLL(None, use_errno=True)


class Missing(Exception):
    """The machine lacks something: skip, and say what."""


class Broken(Exception):
    """A step of a test did not come about."""


# ------------------------------------------------------------------------------- the report

failures = 0


def ok(name):
    print(f"ok - {name}", flush=True)


def not_ok(name, why):
    global failures
    failures += 1
    print(f"not ok - {name}: {' '.join(str(why).split())[:600]}", flush=True)


def skip(name, what):
    print(f"skip - {name}: {what}", flush=True)


def note(text):
    print(f"# {' '.join(str(text).split())}", flush=True)


def check(condition, name, figures=""):
    if condition:
        ok(name)
    else:
        not_ok(name, figures or "false")
    if figures:
        note(f"{name}: {figures}")
    return bool(condition)


def until(what, condition, seconds=DEADLINE, pause=0.1):
    """Polls: tests wait for a fact, never for a time."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Broken(f"after {seconds} s still not: {what}")
        time.sleep(pause)


def run(*argv, check=True, **more):
    more.setdefault("stdout", subprocess.PIPE)
    more.setdefault("stderr", subprocess.STDOUT)
    done = subprocess.run([str(a) for a in argv], text=True, **more)
    if check and done.returncode != 0:
        raise Broken(f"{' '.join(map(str, argv))}: exit {done.returncode}: {done.stdout}")
    return done


# ------------------------------------------------------------------------------- directories that go again

made_here = {}  # path: (device, inode, process) of each directory that this run made


def fresh(prefix, where=BASE):
    path = tempfile.mkdtemp(prefix=prefix, dir=where)
    st = os.lstat(path)
    made_here[path] = st.st_dev, st.st_ino, os.getpid()
    return path


def mount_of(fd):
    with open(f"/proc/self/fdinfo/{fd}") as f:
        return next(line for line in f if line.startswith("mnt_id:"))


def mounted_below(path):
    with open("/proc/self/mountinfo") as f:
        points = [line.split()[4].encode().decode("unicode_escape") for line in f]
    return [p for p in points if p == path or p.startswith(path + "/")]


def remove(path):
    """Removes a directory of fresh(): nothing else, not for another process, and never through a mount.
    A file system of the host that is mounted below would be emptied with it, so then it stays."""
    st = os.lstat(path)
    if made_here.get(path) != (st.st_dev, st.st_ino, os.getpid()):
        raise Broken(f"{path} is not this process's to remove")
    if "KEEP" in os.environ:
        return note(f"kept {path}")
    points = mounted_below(os.path.realpath(path))
    if points:
        return note(f"kept {path}: {points[0]} is mounted")
    top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        empty(top, (st.st_dev, mount_of(top)))
    finally:
        os.close(top)
    os.rmdir(path)
    del made_here[path]


def empty(directory, home):
    for name in os.listdir(directory):
        if not stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=directory)
            continue
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
        try:
            if (os.fstat(fd).st_dev, mount_of(fd)) != home:
                raise Broken(f"{name} lies on another mount: not removed")
            empty(fd, home)
        finally:
            os.close(fd)
        os.rmdir(name, dir_fd=directory)


# ------------------------------------------------------------------------------- packages

def unpack(directory, wanted):
    debs = os.path.join(directory, "debs")
    os.makedirs(os.path.join(debs, "partial"))
    # An empty list of installed packages makes apt fetch the whole closure, so that the root
    # needs nothing of the host: it runs the same wherever it is unpacked.
    empty = os.path.join(directory, "status")
    open(empty, "w").close()
    command = ["apt-get", "-qy", "-o", f"Dir::State::status={empty}", "-o", f"Dir::Cache::archives={debs}",
               "-o", "APT::Sandbox::User=root", "--no-install-recommends", "--download-only", "install", *wanted]
    got = run(*command, check=False)
    if got.returncode != 0:  # lists that are old or were never fetched
        run("apt-get", "-q", "update", check=False)
        got = run(*command, check=False)
    if got.returncode != 0:
        raise Missing(f"packages {' '.join(wanted)} from apt-get: {got.stdout[-300:]}")
    for deb in sorted(os.listdir(debs)):
        if deb.endswith(".deb"):
            run("dpkg", "-x", os.path.join(debs, deb), os.path.join(directory, "root"))


def codename():
    with open("/etc/os-release") as f:
        found = re.search(r"VERSION_CODENAME=(\w+)", f.read())
    return found.group(1) if found else "sid"


def cached(name, make):
    """A directory that make(scratch directory) leaves as "root"; made once, then kept."""
    if os.geteuid() != 0:
        raise Missing("root")
    cache = os.path.join(BASE, "spoolward-cache")
    os.makedirs(cache, mode=0o700, exist_ok=True)
    st = os.lstat(cache)
    if st.st_uid != 0 or st.st_mode & 0o077 or not stat.S_ISDIR(st.st_mode):
        raise Missing(f"a directory {cache} that is root's alone")
    root = os.path.join(cache, f"{name}-{codename()}")
    with open(os.path.join(cache, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two tests at once unpack one after the other
        if not os.path.isdir(root):
            # Made beside and renamed: a root that exists is whole.
            scratch = fresh("new-", cache)
            try:
                make(scratch)
                os.rename(os.path.join(scratch, "root"), root)
            finally:
                remove(scratch)
    return root


def packages(name, *wanted):
    """A directory with these Debian packages and all they need, unpacked."""
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise Missing("apt-get and dpkg")
    return cached(name, lambda directory: unpack(directory, wanted))


# ------------------------------------------------------------------------------- a private world

CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 8, 32, 4096, 16384, 1 << 18


def mount(source, target, kind=None, flags=0, data=None):
    as_bytes = [x.encode() if x else None for x in (source, target, kind)]
    if libc.mount(*as_bytes, ctypes.c_ulong(flags), data.encode() if data else None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount {target}: {os.strerror(number)}")


def addresses(*ips):
    """Brings up the loopback device and gives it these addresses: clients that are not local."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for i, ip in enumerate(ips, 1):
            name = f"lo:{i}".encode()
            sockaddr = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(ip))
            mask = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton("255.255.255.255"))
            fcntl.ioctl(s, 0x8916, struct.pack("16s16s", name, sockaddr))  # SIOCSIFADDR
            fcntl.ioctl(s, 0x891C, struct.pack("16s16s", name, mask))      # SIOCSIFNETMASK
        fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 0x49))        # SIOCSIFFLAGS: up, loopback, running


def unshare(names, flags):
    if libc.unshare(flags) != 0:
        raise Missing(f"{names} namespaces: {os.strerror(ctypes.get_errno())}")


def devices(directory):
    """The few devices that programs expect, on a small RAM disk of their own. Never the host's /dev:
    whoever is root in here could empty it."""
    mount("tmpfs", directory, "tmpfs", MS_NOSUID | MS_NOEXEC, "size=64k,mode=755")
    for minor, name in ((3, "null"), (5, "zero"), (7, "full"), (8, "random"), (9, "urandom")):
        path = os.path.join(directory, name)
        try:
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, minor))
        except PermissionError:
            raise Missing("the right to make devices (CAP_MKNOD)") from None
        os.chmod(path, 0o666)


def world(directory, main, clients):
    """In the child: a mount and network namespace, then main."""
    unshare("mount and network", CLONE_NEWNS | CLONE_NEWNET)
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    with open("/proc/self/mountinfo") as f:
        if any(" shared:" in line for line in f):
            raise Missing("a mount namespace that keeps its mounts to itself")
    mount("proc", "/proc", "proc")
    devices("/dev")
    mount(directory, directory, None, MS_BIND)
    mount(None, directory, None, MS_BIND | MS_REMOUNT)  # without the nosuid and nodev of a /tmp
    addresses(*clients)
    os.chmod(directory, 0o755)
    main(directory)


def child(*args):
    """Does not return: nothing of the parent's tidying may ever happen in here."""
    code = 1
    try:
        libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: as first of its pid namespace it takes all along
        try:
            world(*args)
            code = 1 if failures else 0
        except Missing as e:
            skip(os.path.basename(sys.argv[0]), e)
            code = 0
        except BaseException as e:
            not_ok(os.path.basename(sys.argv[0]), f"{type(e).__name__}: {e}")
        sys.stdout.flush()
    finally:
        os._exit(code)


def contained(main, clients=()):
    """Runs main(directory) in a world of its own and returns the exit code."""
    if os.geteuid() != 0:
        raise Missing("root")
    directory = fresh("sw-")  # short: unix socket paths end at 107 bytes
    pid = 0

    def stop(number, _frame):
        sys.exit(128 + number)  # by way of the finally below

    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, stop)
        unshare("pid", CLONE_NEWPID)  # holds for the child; the rest the child does for itself
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            child(directory, main, clients)
        status = os.waitpid(pid, 0)[1]
        pid = 0
        return os.waitstatus_to_exitcode(status)
    finally:
        if pid:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        remove(directory)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def built(*programs):
    for name in programs:
        if not os.access(os.path.join(BUILD, name), os.X_OK):
            raise Missing(f"{BUILD}/{name}")


class Process:
    """A child that is stopped when the scenario ends, however it ends."""
    alive = []

    def __init__(self, *argv, **more):
        self.popen = subprocess.Popen([str(a) for a in argv], **more)
        Process.alive.append(self)

    def stop(self, number=signal.SIGTERM):
        if self.popen.poll() is None:
            self.popen.send_signal(number)
            try:
                self.popen.wait(20)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        if self in Process.alive:
            Process.alive.remove(self)
        return self.popen.returncode

    @classmethod
    def stop_all(cls):
        for p in list(cls.alive):
            p.stop()


atexit.register(Process.stop_all)

# ------------------------------------------------------------------------------- traffic


class Sink:
    def __init__(self, directory, *options):
        self.log = os.path.join(directory, "sink.log")
        self.port = 0
        open(self.log, "w").close()
        self.start(*options)

    def start(self, *options):
        self.process = Process(f"{BUILD}/tools/sink", "--log", self.log, "--port", self.port, *options,
                               stdout=subprocess.PIPE, text=True)
        line = self.process.popen.stdout.readline().strip()
        if not line.isdigit():
            raise Broken("the sink does not start")
        self.port = int(line)

    def restart(self, *options):
        self.process.stop()
        self.start(*options)

    def rows(self):
        """[recipient, id, sum, claimed sum, sender] per accepted (message, recipient)."""
        with open(self.log) as f:
            return [line.rstrip("\n").split("\t") for line in f]

    def arrived(self, prefix=""):
        """{(id, recipient): times}"""
        return collections.Counter((r[1], r[0]) for r in self.rows() if r[1].startswith(prefix))

    def damaged(self):
        return [r[1] for r in self.rows() if r[2] != r[3]]


class Flood:
    """count messages of one sender; what it sent is known as soon as it is done."""

    def __init__(self, port, id, count=1, recipients=1, domain="there.example", **options):
        self.id, self.count, self.recipients, self.domain = id, count, recipients, domain
        argv = [f"{BUILD}/tools/flood", "--port", port, "--id", id, "--count", count, "--recipients", recipients,
                "--domain", domain]
        for key, value in options.items():
            argv += [f"--{key}", value]
        self.process = Process(*argv, stdout=subprocess.PIPE, text=True)
        self.done = None

    def wait(self, seconds=DEADLINE * 2):
        if self.done is None:
            out, _ = self.process.popen.communicate(timeout=seconds)
            self.process.stop()
            lines = [line.split() for line in out.splitlines()]
            self.unsure = {w[1] for w in lines if w[0] == "unsure"}
            self.refused = {w[1]: " ".join(w[2:]) for w in lines if w[0] == "refused"}
            self.accepted = next((int(w[1]) for w in lines if w[0] == "accepted"), -1)
            self.done = True
            if self.refused or self.unsure or self.accepted != self.count:
                raise Broken(f"flood {self.id}: {self.accepted} of {self.count} accepted, unsure {len(self.unsure)}, "
                             f"refused {list(self.refused.items())[:2]}")
        return self

    def expected(self):
        """{(id, recipient)}"""
        return {(f"{self.id}-{n}", f"r{n}.{k}.{self.id}@{self.domain.replace('#', str(n))}".lower())
                for n in range(self.count) for k in range(self.recipients)}


def flood(*a, **k):
    return Flood(*a, **k).wait()


# ------------------------------------------------------------------------------- the sums

def sums(expected, sink, held):
    """Every (message, recipient) exactly once: at the sink or in a cell. What is wrong, as a list."""
    wrong = []
    for pair in sorted(expected):
        times = sink.get(pair, 0), held.get(pair, 0)
        if sum(times) == 0:
            wrong.append(f"{pair[0]} for {pair[1]} is lost")
        elif sum(times) > 1:
            wrong.append(f"{pair[0]} for {pair[1]} is {times[0]} times at the sink and {times[1]} times held")
    strangers = (set(sink) | set(held)) - set(expected)
    wrong += [f"{id or 'mail without an id'} for {rcpt} was never sent" for id, rcpt in sorted(strangers)]
    return wrong


def sums_can_fail():
    """The accounting itself: a loss, a duplicate, one in both places, one from nowhere."""
    sent = {(f"x-{n}", "a@b") for n in range(10)}
    right = {p: 1 for p in sent}
    first, second = sorted(sent)[:2]
    loss, double = dict(right), dict(right)
    del loss[first]
    double[second] = 2
    return (sums(sent, right, {}) == [] and sums(sent, loss, {first: 1}) == [] and
            len(sums(sent, loss, {})) == 1 and len(sums(sent, double, {})) == 1 and
            len(sums(sent, right, {first: 1})) == 1 and len(sums(sent, {**right, ("y-1", "a@b"): 1}, {})) == 1)


# ------------------------------------------------------------------------------- Spoolward

RULE = """[rule burst]
origin = login, uid, script
count = recipients
limit = {limit}
per = 10m
action = quarantine
"""


class Spoolward:
    """The daemon under test, wholly inside one directory. spools: [(name, lines of its section)]"""

    def __init__(self, directory, spools, mode="enforce", limit=100, rules=None, more=""):
        self.dir = os.path.join(directory, "spoolward")
        self.cells = os.path.join(self.dir, "cells")
        self.conf = os.path.join(self.dir, "spoolward.conf")
        self.log = os.path.join(self.dir, "log")
        self.process = None
        os.makedirs(os.path.join(self.dir, "state"), mode=0o700)
        os.makedirs(self.cells, mode=0o700)
        with open(self.conf, "w") as f:
            f.write(f"[spoolward]\nmode = {mode}\nstate_dir = {self.dir}/state\nquarantine_dir = {self.cells}\n"
                    f"socket = {self.dir}/control\n{more}\n")
            for name, lines in spools:
                f.write(f"[spool {name}]\n{lines}\n")
            f.write(rules if rules is not None else RULE.format(limit=limit))
        self.start()

    def start(self):
        log = open(self.log, "a")
        self.process = Process(f"{BUILD}/spoolwardd", "-f", "-c", self.conf, stdout=log, stderr=log)
        log.close()

        def up():
            if self.process.popen.poll() is not None:
                raise Broken(f"spoolwardd ended with {self.process.popen.returncode}: {self.tail()}")
            rows = self.status()
            return rows and len(rows[0].get("roles", [])) >= 2 and \
                all(s["state"] in ("up", "watched", "ok", "blind") for s in rows[0]["spools"])
        until("the daemon runs and watches its spools", up)

    def tail(self, n=8):
        with open(self.log, errors="replace") as f:
            return " | ".join(line.strip() for line in f.readlines()[-n:])

    def stop(self):
        return self.process.stop()

    def cli(self, *argv, codes=(0,)):
        """Rows of a command as dictionaries; its exit code has to be one of codes."""
        done = subprocess.run([f"{BUILD}/spoolward", *map(str, argv), "--json", "-c", self.conf],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=DEADLINE * 2)
        text = done.stdout.decode("utf-8", "replace")
        if done.returncode not in codes:
            raise Broken(f"spoolward {' '.join(map(str, argv))}: exit {done.returncode}: "
                         f"{done.stderr.decode(errors='replace')[-300:]} {text[-300:]}")
        self.code = done.returncode
        return [json.loads(line) for line in text.splitlines() if line.strip()]

    def status(self):
        return self.cli("status", codes=(0, 1, 3))

    def incidents(self):
        return self.cli("incidents", "--all", codes=(0, 2))

    def held(self):
        return self.cli("list", codes=(0, 2))

    def findings(self):
        return [f for f in self.cli("fsck", codes=(0, 1, 2)) if "what" in f]

    def roles(self):
        """{role: pid}; ward is the parent."""
        rows = until("status answers", self.status)
        pids = {r["name"]: r["pid"] for r in rows[0]["roles"] if r.get("pid")}
        pids["ward"] = self.process.popen.pid
        return pids

    def kill(self, *names):
        """Kills roles (all: no names) the hard way, and starts the daemon again if its parent was among them."""
        pids = self.roles()
        victims = names or tuple(pids)
        for name in random.sample(victims, len(victims)):
            if name in pids:
                try:
                    os.kill(pids[name], signal.SIGKILL)
                except ProcessLookupError:
                    pass
        if "ward" in victims:
            self.process.popen.wait()
            self.process.stop()
            # No role may outlive its parent: two watchers on one ledger would be two truths.
            until("roles die with their parent", lambda: not any(alive(p) for p in pids.values()), 20)
            self.start()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def kin(pid):
    """Processes below pid."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as f:
                    if int(f.read().rsplit(")", 1)[1].split()[1]) == pid:
                        found.append(int(entry))
            except OSError:
                pass
    return found


def scenario(function, *args):
    """One scenario: whatever it left running is stopped; what it raises is its failure."""
    start = time.monotonic()
    try:
        function(*args)
    except Missing as e:
        skip(function.__doc__, e)
    except Exception as e:  # the next scenario runs all the same
        not_ok(function.__doc__, f"{type(e).__name__}: {e}")
    finally:
        Process.stop_all()
        note(f"{function.__doc__}: {time.monotonic() - start:.0f} s")
