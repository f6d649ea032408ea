"""postfix - private instances of Debian's Postfix inside the world that lab.py makes.

All instances share one root (the packages, mounted read-only); each has its own configuration,
queue, data and log there. master runs in a chroot of that root, so every path in it is the
package's own, while Spoolward outside sees the queue under the root's path."""
import base64
import collections
import os
import re
import signal
import socket
import subprocess
import threading

import lab

PACKAGES = ("postfix", "dash")
UID, POSTDROP = 58025, 58026  # numbers that no account of a host has
USERS = 1001, 1002, 1003

MASTER = """\
{listen} inet n - n - {processes} smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

MAIN = {
    "compatibility_level": "3.6",
    "mail_owner": "postfix",
    "setgid_group": "postdrop",
    "daemon_directory": "/usr/lib/postfix/sbin",
    "command_directory": "/usr/sbin",
    "maillog_file_prefixes": "/var",
    "myhostname": "mx.example.test",
    "mydestination": "",
    "local_recipient_maps": "",
    "relay_domains": "local.example",  # mail for it is welcome from outside
    "alias_maps": "",
    "inet_interfaces": "all",
    "inet_protocols": "ipv4",
    "mynetworks": "127.0.0.0/8",
    "smtp_dns_support_level": "disabled",
    "smtpd_peername_lookup": "no",
    "smtpd_sasl_auth_enable": "yes",
    "smtpd_sasl_type": "dovecot",
    "smtpd_relay_restrictions": "permit_sasl_authenticated, reject_unauth_destination",
    "smtpd_client_connection_count_limit": "0",
    "default_destination_concurrency_limit": "50",  # many deliveries are under way when mail is taken
    "initial_destination_concurrency": "50",
    "header_size_limit": "1024000",
    "biff": "no",
}

QUEUES = ("incoming", "active", "deferred", "hold", "maildrop", "corrupt")


class Auth(threading.Thread):
    """Says yes to every login with the password "secret", in the Dovecot auth protocol."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.socket.getsockname()[1]
        self.start()

    def run(self):
        while True:
            peer, _ = self.socket.accept()
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    @staticmethod
    def serve(peer):
        with peer, peer.makefile("rw", newline="\n") as f:
            f.write("VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t00\nDONE\n")
            f.flush()
            for line in f:
                words = line.rstrip("\n").split("\t")
                if words[0] != "AUTH":
                    continue
                given = next((w[5:] for w in words if w.startswith("resp=")), "")
                _, login, password = base64.b64decode(given).decode().split("\0")
                good = password == "secret"
                f.write(f"OK\t{words[1]}\tuser={login}\n" if good else f"FAIL\t{words[1]}\tuser={login}\n")
                f.flush()


def root(directory):
    """The packages as a root to chroot into, with an /etc and a /dev."""
    source = lab.packages("postfix", *PACKAGES)
    root = os.path.join(directory, "root")
    os.makedirs(root)
    for name in os.listdir(source):
        target = os.path.join(root, name)
        if os.path.islink(os.path.join(source, name)):
            os.symlink(os.readlink(os.path.join(source, name)), target)
        elif name not in ("etc", "var", "dev", "tmp", "run", "proc", "sys"):
            os.mkdir(target)
            lab.mount(os.path.join(source, name), target, None, lab.MS_BIND)
            lab.mount(None, target, None, lab.MS_BIND | lab.MS_REMOUNT | lab.MS_RDONLY)
    for name in ("bin", "sbin", "lib", "lib64"):  # where all is below usr, a package that we do not have makes these
        if not os.path.lexists(os.path.join(root, name)) and os.path.isdir(os.path.join(root, "usr", name)):
            os.symlink("usr/" + name, os.path.join(root, name))
    for name in ("etc/postfix", "var/log", "var/lib", "var/spool", "dev", "tmp", "run"):
        os.makedirs(os.path.join(root, name))
    os.chmod(os.path.join(root, "tmp"), 0o1777)
    lab.devices(os.path.join(root, "dev"))
    with open(os.path.join(root, "etc/passwd"), "w") as f:
        f.write(f"root:x:0:0::/:/bin/sh\npostfix:x:{UID}:{UID}::/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n" +
                "".join(f"site{n}:x:{n}:{n}::/:/bin/sh\n" for n in USERS))
    with open(os.path.join(root, "etc/group"), "w") as f:
        f.write(f"root:x:0:\npostfix:x:{UID}:\npostdrop:x:{POSTDROP}:\nnogroup:x:65534:\n" +
                "".join(f"site{n}:x:{n}:\n" for n in USERS))
    # What the package's postinst does: postdrop writes where its caller may not. The package
    # itself stays as it is; a copy with the bit is mounted over it.
    for tool in ("postdrop", "postqueue"):
        copy = os.path.join(directory, tool)
        path = os.path.join(root, "usr/sbin", tool)
        with open(path, "rb") as a, open(copy, "wb") as b:
            b.write(a.read())
        os.chown(copy, 0, POSTDROP)
        os.chmod(copy, 0o2555)
        lab.mount(copy, path, None, lab.MS_BIND)
    with open(os.path.join(root, "etc/postfix/main.cf"), "w") as f:
        f.write("alternate_config_directories = " + " ".join(f"/etc/pf{n}" for n in range(40)) + "\n")
    return root


class Postfix:
    count = 0

    def __init__(self, root, sink, tmpfs=False, long_ids=False, master="", **main):
        n = Postfix.count
        Postfix.count += 1
        self.root, self.conf, self.log = root, f"/etc/pf{n}", f"{root}/var/log/pf{n}.log"
        self.queue = f"{root}/var/spool/pf{n}"
        self.port = lab.free_port()
        self.auth = Auth()
        self.process = None
        os.makedirs(self.queue)
        if tmpfs:
            lab.mount("tmpfs", self.queue, "tmpfs", 0, "size=512m,mode=755")
        self.layout()
        data = f"{root}/var/lib/pf{n}"
        os.mkdir(data, 0o700)
        os.chown(data, UID, UID)
        self.main = dict(MAIN, queue_directory=f"/var/spool/pf{n}", data_directory=f"/var/lib/pf{n}",
                         maillog_file=f"/var/log/pf{n}.log", syslog_name=f"pf{n}",
                         relayhost=f"[127.0.0.1]:{sink.port}", smtpd_sasl_path=f"inet:127.0.0.1:{self.auth.port}",
                         enable_long_queue_ids="yes" if long_ids else "no", **main)
        os.mkdir(root + self.conf)
        self.configure()
        with open(f"{root}{self.conf}/master.cf", "w") as f:
            f.write(MASTER.format(listen=self.port, processes=100) + master)
        self.start()

    def layout(self):
        """What `postfix start` makes; its script wants a host full of tools."""
        for name, mode, group in (("active", 0o700, UID), ("bounce", 0o700, UID), ("corrupt", 0o700, UID),
                                  ("defer", 0o700, UID), ("deferred", 0o700, UID), ("flush", 0o700, UID),
                                  ("hold", 0o700, UID), ("incoming", 0o700, UID), ("saved", 0o700, UID),
                                  ("trace", 0o700, UID), ("private", 0o700, UID), ("maildrop", 0o1730, POSTDROP),
                                  ("public", 0o2710, POSTDROP), ("pid", 0o755, 0)):
            path = os.path.join(self.queue, name)
            os.mkdir(path)
            os.chown(path, 0 if name == "pid" else UID, group)
            os.chmod(path, mode)

    def configure(self, **main):
        self.main.update(main)
        with open(f"{self.root}{self.conf}/main.cf", "w") as f:
            f.writelines(f"{k} = {v}\n" for k, v in self.main.items())

    def spool(self, **more):
        """The lines of a [spool] section of Spoolward."""
        lines = {"format": "postfix", "path": self.queue, "owner": UID,
                 "hashed": self.main.get("hash_queue_names", "deferred, defer"),
                 "hash_depth": self.main.get("hash_queue_depth", 1)}
        return "\n".join(f"{k} = {v}" for k, v in dict(lines, **more).items())

    def start(self):
        self.process = lab.Process("chroot", self.root, "/usr/lib/postfix/sbin/master", "-c", self.conf,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def up():
            if self.process.popen.poll() is not None:
                raise lab.Broken(f"master ended: {self.tail()}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), 5) as s:
                    return s.recv(3) == b"220"
            except OSError:
                return False
        lab.until("Postfix answers", up)

    def stop(self):
        self.process.stop()

    def reload(self):
        """As `postfix reload`, with its postsuper in the background."""
        self.tool("postsuper", "active")
        self.process.popen.send_signal(signal.SIGHUP)

    def tool(self, name, *argv, **more):
        return lab.run("chroot", self.root, f"/usr/sbin/{name}", "-c", self.conf, *argv, **more)

    def flush(self):
        self.tool("postqueue", "-f")

    def sendmail_many(self, uid, id, count, header=""):
        """sendmail(1), run count times by an ordinary user; returns the expected {(id, recipient)}."""
        body = "from a web form\n"
        header = header + "\n" if header else ""
        text = f"X-Test-Sum: {fnv(body.replace(chr(10), chr(13) + chr(10)).encode()):016x}\nSubject: form\n{header}\n{body}"
        script = (f"n=0; while [ $n -lt {count} ]; do printf 'X-Test-Id: {id}-%s\\n%s' $n \"$1\" | "
                  f"/usr/sbin/sendmail -C {self.conf} -i -f site@local.example r$n.{id}@there.example || exit 1; "
                  "n=$((n + 1)); done")
        lab.run("chroot", f"--userspec={uid}:{uid}", "--groups=", self.root, "/bin/sh", "-c", script, "sh", text)
        return {(f"{id}-{n}", f"r{n}.{id}@there.example") for n in range(count)}

    def queued(self):
        """{directory: files} of what is still with Postfix, and of what is on its way to a cell."""
        found = {}
        for name in (*QUEUES, "spoolward.stage"):
            n = sum(len(files) for _, _, files in os.walk(os.path.join(self.queue, name)))
            if n:
                found[name] = n
        return found

    def settle(self, seconds=lab.DEADLINE * 2):
        """Until nothing is queued. A message between two directories is in neither for a blink: look twice."""
        lab.until("the queue is empty", lambda: not self.queued() and not self.queued(), seconds, 0.25)

    def tail(self, n=5):
        try:
            with open(self.log, errors="replace") as f:
                return " | ".join(line.strip() for line in f.readlines()[-n:])
        except OSError:
            return "no log"

    def grep(self, pattern):
        with open(self.log, errors="replace") as f:
            return [line for line in f if re.search(pattern, line)]


def fnv(text):
    """The sum that flood.c and sink.c make of a body."""
    h = 0xcbf29ce484222325
    for byte in text:
        h = (h ^ byte) * 0x100000001b3 & 0xffffffffffffffff
    return h


def records(text):
    """(type, value) of a queue file up to its end, as far as no milter edited it."""
    at = 0
    while at + 2 <= len(text):
        kind, length, shift = text[at:at + 1], 0, 0
        at += 1
        while True:
            byte = text[at]
            at += 1
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        yield kind, text[at:at + length]
        at += length
        if kind == b"E":
            return


def test_id(text):
    """X-Test-Id of a queue file. The next record follows at once: with a capital letter, which no id has."""
    found = re.search(rb"X-Test-Id: ([a-z0-9-]+)", text)
    return found.group(1).decode() if found else ""


def held(cells):
    """{(id, recipient): times} of what lies in the quarantine: recipients that are still to be served."""
    found = collections.Counter()
    for directory, _, files in os.walk(cells):
        for name in files:
            if not os.path.isfile(os.path.join(directory, name)):
                continue
            with open(os.path.join(directory, name), "rb") as f:
                text = f.read()
            if not text.startswith(b"C\x5f"):
                continue  # a sidecar or a log
            for kind, value in records(text):
                if kind == b"R":
                    found[(test_id(text), value.decode().lower())] += 1
    return found
