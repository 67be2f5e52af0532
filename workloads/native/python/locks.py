"""Python threads as they stand. `locks.py NAME`; `ready` on stdout once all of it stands.

lock, rlock: two threads that hold one each and want the other's; of an rlock a line for each:
`waits TID ADDRESS`, where the address is its id(). idle: a pool of threads and an event loop with
nothing to do. gil: threads that compute, all at once."""
import os
import sys
import threading


def say(*words):
    # One write of the whole line: print writes in pieces, which those of another thread may part.
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def circle(kind):
    locks = [kind(), kind()]
    both = threading.Barrier(3)

    def run(first, second):
        with first:
            say("waits", threading.get_native_id(), hex(id(second)))
            both.wait()
            with second:
                pass

    pairs = ((locks[0], locks[1]), (locks[1], locks[0]))
    threads = [threading.Thread(target=run, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    both.wait()
    say("ready")
    for thread in threads:
        thread.join()


def idle():
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(4)
    all_there = threading.Barrier(4)
    list(pool.map(lambda _: all_there.wait(), range(4)))

    async def main():
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        say("ready")
        await server.serve_forever()

    asyncio.run(main())


def gil():
    def spin():
        while True:
            pass

    for _ in range(3):
        threading.Thread(target=spin, daemon=True).start()
    say("ready")
    sys.stdin.read()


{
    "lock": lambda: circle(threading.Lock),
    "rlock": lambda: circle(threading.RLock),
    "idle": idle,
    "gil": gil,
}[sys.argv[1]]()
