"""A process of its own that does nothing but read() a file: the speed that nothing can beat.

Run as a script, with no site-packages. Says what the reading alone took.
"""

import os
import sys
import time

BLOCK_BYTES = 1 << 20


def main(path: str) -> None:
    block = bytearray(BLOCK_BYTES)
    buffers = [block]
    total = 0
    fd = os.open(path, os.O_RDONLY)
    wall, cpu = time.monotonic(), time.process_time()
    while count := os.readv(fd, buffers):
        total += count
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    print(f'{{"cpu_seconds": {cpu!r}, "wall_seconds": {wall!r}, "bytes": {total}}}')


if __name__ == "__main__":
    main(sys.argv[1])
