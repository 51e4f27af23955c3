"""The three tasks of the benchmark for Python Celery; the same as in ../lib/node-role.mjs."""
import json
import os
import sys
import time

from celery import Celery

config = json.loads(sys.argv[1])

app = Celery("bench", broker=config["url"], backend=config["url"])
app.conf.update(
    task_ignore_result=not config.get("results", False),
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    task_acks_late=config.get("acksLate", False),
    task_reject_on_worker_lost=config.get("acksLate", False),
)
if "prefetch" in config:
    app.conf.worker_prefetch_multiplier = config["prefetch"]
if "visibilityTimeout" in config:
    app.conf.broker_transport_options = {"visibility_timeout": config["visibilityTimeout"]}


def now_ms():
    """Comparable with nowMs() of lib/clock.mjs: both read CLOCK_MONOTONIC."""
    return time.monotonic_ns() / 1e6


@app.task(name="bench.add")
def add(x, y):
    return x + y


@app.task(name="bench.sum", ignore_result=False)
def total(values):
    return sum(values)


@app.task(name="bench.stamp", ignore_result=False)
def stamp(x, y):
    return now_ms()


@app.task(name="bench.sleep")
def sleep(index, ms):
    time.sleep(ms / 1000)
    log = os.open(config["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, f"{index}\n".encode())
    os.close(log)
