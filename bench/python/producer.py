"""A producer's process for Python Celery: what ../lib/producing.mjs does, with Celery's synchronous producer."""
import random
import time
from concurrent.futures import ThreadPoolExecutor

imported_from = time.monotonic()
from celery import chain, chord, group  # noqa: E402

import role  # noqa: E402
from tasks import add, app, now_ms, sleep, stamp, total  # noqa: E402

import_ms = (time.monotonic() - imported_from) * 1000
THREADS = 10  # more gain nothing: each holds the interpreter while it encodes
BULK = 1000


def awaited(count):
    for _ in range(count):
        add.delay(1, 2)


def concurrent(count):
    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(awaited, count // THREADS) for _ in range(THREADS)]:
            done.result()


def bulk(count):
    for _ in range(count // BULK):
        group(add.s(1, 2) for _ in range(BULK)).apply_async()


WAYS = {"awaited": awaited, "concurrent": concurrent, "bulk": bulk}


def enqueue(args):
    at, cpu = now_ms(), time.process_time()
    WAYS[args["way"]](args["count"])
    return {"startedAt": at, "endedAt": now_ms(), "cpuMicros": (time.process_time() - cpu) * 1e6}


def latencies(args):
    to_start, to_result = [], []
    for _ in range(args["count"]):
        time.sleep(args["pauseMs"] * (0.5 + random.random()) / 1000)
        sent = now_ms()
        started = stamp.delay(1, 2).get()
        to_result.append(now_ms() - sent)
        to_start.append(started - sent)
    return {"toStart": to_start, "toResult": to_result}


def workflow(args):
    size = args["size"]
    sent = now_ms()
    if args["kind"] == "chord":
        result, expected = chord([add.s(1, 2) for _ in range(size)])(total.s()), 3 * size
    else:
        result, expected = chain(add.s(1, 2), *[add.s(1) for _ in range(size - 1)]).apply_async(), size + 2
    value = result.get(timeout=250)
    took = now_ms() - sent
    assert value == expected, value
    return took


def sleepers(args):
    for index in range(args["count"]):
        sleep.delay(index, args["ms"])


broker = app.connection_for_read().default_channel.client


def outstanding(_):
    return broker.llen("celery") + broker.hlen("unacked")


role.write({"event": "ready", "at": now_ms(), "importMs": import_ms})
role.serve({"enqueue": enqueue, "latencies": latencies, "sleepers": sleepers, "workflow": workflow, "outstanding": outstanding})
