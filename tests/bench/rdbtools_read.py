"""A process of its own that reads a file with rdbtools, in our subclass that knows RDB 10 and up.

Run as a script: ``FILE``. Says what the reading alone took, and the report.
"""

import json
import os
import sys
import time

from exporter.verify.reading import read_rdb


def main(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    wall, cpu = time.monotonic(), time.process_time()
    report = read_rdb(lambda size: os.read(fd, size))
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    said = {"cpu_seconds": cpu, "wall_seconds": wall, "report": report.to_dict()}
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
