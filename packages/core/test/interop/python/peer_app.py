"""The Python side of the interoperability tests: an ordinary Celery application, configured by the environment."""

import datetime
import decimal
import os
import time
import uuid

from celery import Celery
from celery.exceptions import Ignore, Reject

app = Celery("peer", broker=os.environ["PEER_BROKER"], backend=os.environ["PEER_BACKEND"])
app.conf.update(
    task_default_queue=os.environ.get("PEER_QUEUE", "python"),
    accept_content=os.environ.get("PEER_ACCEPT", "json").split(","),
    result_accept_content=["json", "yaml", "msgpack"],
    result_serializer=os.environ.get("PEER_RESULT_SERIALIZER", "json"),
    result_extended=os.environ.get("PEER_EXTENDED") == "1",
    task_acks_late=os.environ.get("PEER_ACKS_LATE", "1") == "1",
    worker_prefetch_multiplier=int(os.environ.get("PEER_PREFETCH", "1")),
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": int(os.environ.get("PEER_VISIBILITY_TIMEOUT", "3600")),
        **({"global_keyprefix": os.environ["PEER_PREFIX"]} if "PEER_PREFIX" in os.environ else {}),
    },
)


@app.task(name="python.add")
def add(x, y):
    return x + y


@app.task(name="python.sum")
def total(numbers):
    return sum(numbers)


@app.task(name="python.echo")
def echo(value=None, **kwargs):
    return {"value": value, "kwargs": kwargs} if kwargs else value


@app.task(name="python.fail")
def fail(text):
    raise ValueError(text, 42)


class ShopError(Exception):
    pass


@app.task(name="python.fail_custom")
def fail_custom(text):
    raise ShopError(text)


@app.task(name="python.flaky", bind=True, max_retries=5, default_retry_delay=0.1)
def flaky(self, failures):
    if self.request.retries < failures:
        raise self.retry(exc=ConnectionRefusedError(111, "Connection refused"))
    return {"attempts": self.request.retries + 1}


@app.task(name="python.started_at")
def started_at():
    return time.time()


@app.task(name="python.request", bind=True)
def request(self, *args, **kwargs):
    r = self.request
    info = r.delivery_info or {}
    return {
        "id": r.id, "root_id": r.root_id, "parent_id": r.parent_id, "retries": r.retries, "eta": r.eta,
        "expires": r.expires, "timelimit": r.timelimit, "reply_to": r.reply_to, "correlation_id": r.correlation_id,
        "shadow": r.shadow, "argsrepr": r.argsrepr, "kwargsrepr": r.kwargsrepr, "group": r.group,
        "priority": info.get("priority"), "args": list(r.args), "kwargs": dict(r.kwargs), "headers": r.headers,
    }


def text_of(value):
    return "[" + ",".join(text_of(each) for each in value) + "]" if isinstance(value, (list, tuple)) else str(value)


@app.task(name="python.tag")
def tag(value, label):
    """Says what it was called with, so that the last result tells the way of all others."""
    return f"{label}({text_of(value)})"


@app.task(name="python.tag_fail")
def tag_fail(value, label):
    raise ValueError(label)


@app.task(name="python.ignored")
def ignored():
    raise Ignore()


@app.task(name="python.rejected")
def rejected():
    raise Reject("no", requeue=False)


@app.task(name="python.typed")
def typed(value):
    """Names the Python types of what arrived, and sends the like back."""
    return {
        "types": {key: type(item).__name__ for key, item in value.items()},
        "echo": value,
        "made": {
            "datetime": datetime.datetime(2024, 2, 29, 12, 30, 45, 123456, tzinfo=datetime.timezone.utc),
            "date": datetime.date(2024, 2, 29),
            "decimal": decimal.Decimal("1.10"),
            "uuid": uuid.UUID("00000000-0000-4000-8000-000000000001"),
            "bytes": b"\xff\xfe\x00",
            "big": 2**60 + 1,
        },
    }


@app.task(name="python.hold")
def hold(seconds):
    time.sleep(seconds)
    return seconds


@app.task(name="python.call_node", bind=True)
def call_node(self, name, args):
    """Sends a task from inside a task, so that parent and root travel."""
    return app.send_task(name, args=args, queue="node").id


import canvas_tasks  # noqa: E402, F401
