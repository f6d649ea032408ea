"""A spoolwardd of one's own on a drop folder in a temporary directory, for the tests beside this file."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time

BUILD = os.path.abspath(os.environ.get("BUILD", "build"))
DEADLINE = float(os.environ.get("DEADLINE", "60"))
failed = 0


class Daemon:
    def __init__(self, limit=20, mode="enforce", more=""):
        self.top = tempfile.mkdtemp(prefix="spoolward-test-")
        self.drop = os.path.join(self.top, "place", "drop")
        os.makedirs(self.drop)
        self.conf = os.path.join(self.top, "spoolward.conf")
        self.write_conf(limit, mode, more)
        self.n = 0

    def write_conf(self, limit=20, mode="enforce", more=""):
        with open(self.conf, "w") as f:
            f.write(f"""[spoolward]
mode = {mode}
state_dir = {self.top}/state
quarantine_dir = {self.top}/quarantine
socket = {self.top}/control
min_free = 1M
reconcile = 5s
[spool drop]
format = eml
path = {self.drop}
login_header = X-Login
[rule burst]
origin = login
count = recipients
limit = {limit}
per = 10m
action = quarantine
{more}
""")

    def start(self, *options):
        self.log = open(os.path.join(self.top, "log"), "a")
        self.process = subprocess.Popen([f"{BUILD}/spoolwardd", "-f", "-c", self.conf, *options], stderr=self.log)
        self.until(lambda: self.status().get("spools", [{}])[0].get("state") in ("watched", "scanned", "down"), "start")

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(60)
        self.log.close()

    def cli(self, *args):
        out = subprocess.run([f"{BUILD}/spoolward", "-c", self.conf, *args, "--json"], capture_output=True, text=True)
        return out.returncode, [json.loads(line) for line in out.stdout.splitlines()]

    def status(self):
        code, rows = self.cli("status")
        return rows[0] if rows else {}

    def until(self, what, name, seconds=DEADLINE):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if what():
                return True
            time.sleep(0.05)
        with open(os.path.join(self.top, "log")) as f:
            print("".join(f"# {line}" for line in f.readlines()[-15:]), end="")
        print(f"# gave up waiting for: {name}; status {self.status()}")
        return False

    def mail(self, login, count=1, where=None):
        for _ in range(count):
            self.n += 1
            name = f"{self.n}.eml"
            with open(os.path.join(self.top, name), "w") as f:
                f.write(f"X-Login: {login}\nFrom: {login}\nTo: a@there.example\nSubject: {self.n}\n\nbody {self.n}\n")
            os.rename(os.path.join(self.top, name), os.path.join(where or self.drop, name))

    def held(self):
        return [r for r in self.cli("list")[1] if r.get("state") == "held"]

    def logged(self, text):
        with open(os.path.join(self.top, "log")) as f:
            return text in f.read()

    def end(self):
        if self.process.poll() is None:
            self.stop()
        if not os.path.ismount(self.top) and "KEEP" not in os.environ:
            shutil.rmtree(self.top)


def check(ok, name, why=""):
    global failed
    failed += not ok
    print(f"ok - {name}" if ok else f"not ok - {name}: {why}", flush=True)


def run(tests):
    """Each a function and its arguments; a test that breaks is a test that failed."""
    for test, *args in tests:
        try:
            test(*args)
        except Exception as e:
            check(False, test.__name__, f"{type(e).__name__}: {e}")
    return 1 if failed else 0
