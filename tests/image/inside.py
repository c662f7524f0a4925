"""Enters the image's root, in mount and process namespaces of its own, and tries it.

Called by ``check`` with the root and a work directory; prints what held, exits 1 on what did not.
Standard library only: it runs under the machine's Python.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT, WORK = Path(sys.argv[1]), Path(sys.argv[2])
IMAGE = json.loads((WORK / "image.json").read_text())["Docker"]["config"]
PORT = 19391
COMPILERS = ("cc", "gcc*", "ld", "rustc", "cargo")
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
#: A noisy machine may take long; what never comes is what fails.
DEADLINE_SECONDS = 60.0


def held(what: str, *, true: bool, detail: object = "") -> None:
    print(f"{'ok  ' if true else 'FAIL'} {what} {'' if true else detail}".rstrip(), flush=True)
    if not true:
        sys.exit(1)


def mount(*args: str) -> None:
    subprocess.run(["mount", *args], check=True)


def prepare() -> None:
    """Read-only root, state volume, read-only backups; whatever is a shell is covered up."""
    mount("--bind", str(ROOT), str(ROOT))
    for source, target, options in (
        (WORK / "state", "var/lib/redis-backup-exporter", "bind"),
        (WORK / "data", "mnt", "bind"),
    ):
        mount("-o", options, str(source), str(ROOT / target))
    mount("-o", "remount,bind,ro", str(ROOT / "mnt"))
    for shell in ("bin/dash", "bin/bash", "bin/sh"):
        path = ROOT / "usr" / shell
        if path.exists() and not path.is_symlink():
            mount("--bind", "/dev/null", str(path))
    mount("-t", "proc", "proc", str(ROOT / "proc"))
    mount("--rbind", "/dev", str(ROOT / "dev"))
    mount("-o", "remount,bind,ro", str(ROOT))


def start(*args: str, **options: object) -> subprocess.Popen[str]:
    """A process of the image as its configuration says, with ``args`` in place of its CMD."""
    uid, _, gid = IMAGE["User"].partition(":")
    environment = dict(pair.split("=", 1) for pair in IMAGE["Env"])
    environment |= {"RBE_WEB_LISTEN_ADDRESS": f"127.0.0.1:{PORT}"}
    return subprocess.Popen(
        ["chroot", f"--userspec={uid}:{gid}", "--groups=", str(ROOT), *args],
        env=environment, stdin=subprocess.DEVNULL, text=True, **options,
    )  # fmt: skip


def answer(*args: str) -> tuple[int, str]:
    process = start(*args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said, _ = process.communicate(timeout=DEADLINE_SECONDS)
    return process.returncode, said


def commands(entry: list[str]) -> None:
    code, said = answer(*entry, "--version")
    held("entry point starts", true=code == 0, detail=said)
    code, said = answer("/opt/venv/bin/python", "-c", "import exporter._native")
    held("the native engine is in it", true=code == 0, detail=said)
    code, said = answer(*entry, "verify", "/mnt/dump.rdb")
    held("verify: a whole dump is valid", true=code == 0 and said.startswith("valid"), detail=said)
    code, said = answer(*entry, "verify", "/mnt/cut.rdb")
    held("verify: a cut one is not", true=code == 1 and "truncated" in said, detail=said)
    code, said = answer(*entry, "config", "check", "--backup.name-time-zone", "Europe/Berlin",
                        "--backup.dir", "/mnt")  # fmt: skip
    held("time zones are there", true=code == 0, detail=said)
    code, said = answer(*IMAGE["Healthcheck"]["Test"][1:])
    held("healthcheck: 1 where nothing runs", true=code == 1, detail=said)


def sidecar(entry: list[str]) -> None:
    process = start(*entry, *IMAGE["Cmd"], "--backup.dir=/mnt", "--backup.pattern=dump.rdb",
                    "--backup.settle-time=0", "--check.interval=1s")  # fmt: skip
    until = time.monotonic() + DEADLINE_SECONDS
    code, said = 1, ""
    while code != 0 and time.monotonic() < until and process.poll() is None:
        code, said = answer(*IMAGE["Healthcheck"]["Test"][1:])
    held("healthcheck: 0 once it runs", true=code == 0, detail=said)
    # chroot becomes the program, so the process is the sidecar; the proc of our namespace knows it.
    status = (ROOT / f"proc/{process.pid}/status").read_text()
    ids = [line.split()[1:] for line in status.splitlines() if line.startswith(("Uid", "Gid"))]
    held("runs as 999:999 only", true=ids == [["999"] * 4, ["999"] * 4], detail=ids)
    text = ""
    # The committed dump is too old for a green verdict; what counts here is that it is proven.
    proven = False
    while not proven and time.monotonic() < until:
        with NO_PROXY.open(f"http://127.0.0.1:{PORT}/metrics", timeout=10) as page:
            text = page.read().decode()
        proven = re.search(r'newest_status\{[^}]*status="valid"\} 1', text) is not None
    held("the dump is proven in /metrics", true=proven, detail=text[-2000:])
    held("state is kept in the volume", true=any((WORK / "state").iterdir()))
    process.send_signal(signal.SIGTERM)
    held("SIGTERM ends it with 0", true=process.wait(DEADLINE_SECONDS) == 0)


def main() -> None:
    os.chdir("/")
    held("user is numeric and not root", true=IMAGE["User"] == "999:999", detail=IMAGE["User"])
    entry = IMAGE["Entrypoint"]
    held("entry point and probe need no shell",
         true=entry[0] != "/bin/sh" and IMAGE["Healthcheck"]["Test"][0] == "CMD")  # fmt: skip
    prepare()
    code, said = answer("/opt/venv/bin/python", "-c", "open('/x', 'w')")
    held("the root is read-only", true=code != 0 and "Read-only" in said, detail=said)
    code, _ = answer("/bin/sh", "-c", "true")
    held("no shell can be started", true=code != 0)
    left = [str(path) for name in COMPILERS for path in ROOT.glob(f"**/bin/{name}")]
    held("no compiler is in it", true=not left, detail=left)
    commands(entry)
    sidecar(entry)


main()
