"""How soon a server answers while it is busy: `python -m bench.probe URL SECONDS` prints seconds, one line each.

A process of its own, so that what else the benchmark does delays no probe. A probe is sent every 20 ms whether the
ones before have been answered or not; waiting for them would skip the very moments in which the server stalls.
"""

import asyncio
import sys
import time
from urllib.parse import urlsplit

import uvloop

INTERVAL_SECONDS = 0.02
# A request without an answer by then counts as this much.
PATIENCE_SECONDS = 60.0


async def probe(host: str, port: int, path: str) -> float:
    began = time.perf_counter()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            answer = await reader.read()
            writer.close()
    except TimeoutError:
        return PATIENCE_SECONDS
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(f"the probe was answered {answer[:40]!r}")
    return time.perf_counter() - began


async def main() -> None:
    url, seconds = urlsplit(sys.argv[1]), float(sys.argv[2])
    probes = []
    for _ in range(round(seconds / INTERVAL_SECONDS)):
        probes.append(asyncio.create_task(probe(url.hostname or "", url.port or 80, url.path)))
        await asyncio.sleep(INTERVAL_SECONDS)
    for seconds in await asyncio.gather(*probes):
        print(seconds)


if __name__ == "__main__":
    uvloop.run(main())
