"""Distance: `python -m bench.proxy 0.05 8001:54321 8002:54322` puts 50 ms of round trip before two ports.

What arrives is passed on half a round trip later, in each direction, whatever else is under way; a new connection
has its handshake's round trip to wait first. Bandwidth is not limited.
"""

import asyncio
import sys

import uvloop

CHUNK_BYTES = 256 * 1024


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    """Write what was read, each piece after the delay."""
    loop = asyncio.get_running_loop()
    on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def arrive() -> None:
        while True:
            due, piece = await on_the_way.get()
            await asyncio.sleep(due - loop.time())
            if not piece:
                break
            writer.write(piece)
            await writer.drain()

    arrival = asyncio.create_task(arrive())
    try:
        piece = b"."
        while piece and not arrival.done():
            piece = await reader.read(CHUNK_BYTES)
            on_the_way.put_nowait((loop.time() + delay, piece))
        await arrival
    except ConnectionError:
        arrival.cancel()
    finally:
        writer.close()


async def listen(port: int, target: int, round_trip: float) -> asyncio.Server:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(round_trip)
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        except ConnectionError:
            writer.close()
            return
        await asyncio.gather(
            carry(reader, far_writer, round_trip / 2), carry(far_reader, writer, round_trip / 2)
        )

    return await asyncio.start_server(connected, "127.0.0.1", port)


async def main() -> None:
    round_trip = float(sys.argv[1])
    for pair in sys.argv[2:]:
        port, target = map(int, pair.split(":"))
        await listen(port, target, round_trip)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
