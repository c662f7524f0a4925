"""A process of its own that scrapes ``/metrics`` as Prometheus would, at a steady pace.

Run as a script, with no site-packages: ``PORT COUNT PER_SECOND``. Says when each scrape began and
how long it took. In the measuring process, threads that wait for the interpreter would add to it.
"""

import http.client
import json
import sys
import time


def main(port: int, count: int, per_second: float) -> None:
    found = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    first = time.monotonic()
    for number in range(count):
        # The pace is kept whatever a scrape takes.
        time.sleep(max(0.0, first + number / per_second - time.monotonic()))
        at, began = time.time(), time.perf_counter()
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        body = answer.read()
        found.append((at, time.perf_counter() - began))
        if answer.status != 200 or b"redis_backup_" not in body:
            sys.exit(f"/metrics answered {answer.status}")
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
