"""A worker's process for Python Celery: `celery worker` with the runner's requests answered from a thread."""
import os
import signal
import threading
import time

imported_from = time.monotonic()
from celery.signals import worker_ready  # noqa: E402

import role  # noqa: E402
from tasks import app, config, now_ms  # noqa: E402

import_ms = (time.monotonic() - imported_from) * 1000


def usage(_):
    return {"at": now_ms(), "cpuMicros": role.cpu_micros(), "rssBytes": role.rss_bytes(), "peakRssBytes": role.rss_bytes()}


def answer():
    role.serve({"usage": usage})
    os.kill(os.getpid(), signal.SIGTERM)


@worker_ready.connect
def ready(**_):
    role.write({"event": "ready", "at": now_ms(), "importMs": import_ms})
    threading.Thread(target=answer, daemon=True).start()


app.worker_main(
    ["worker", "--loglevel", "CRITICAL", "--pool", config["pool"], "--concurrency", str(config["concurrency"])]
    + ["--without-gossip", "--without-mingle", "--without-heartbeat"]
)
