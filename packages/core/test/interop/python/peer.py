"""Answers one JSON command a line with one JSON line: the hands of a Python producer for the tests."""

import base64
import datetime
import decimal
import json
import sys
import uuid

from celery import chain, chord, group
from celery.canvas import StampingVisitor
from celery.result import AsyncResult

from kombu.utils.json import dumps

from peer_app import app


def from_json(value):
    """{"$python": [type, text]} stands for what JSON has not."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if isinstance(value, dict):
        if set(value) == {"$python"}:
            kind, text = value["$python"]
            return {
                "datetime": datetime.datetime.fromisoformat,
                "date": datetime.date.fromisoformat,
                "decimal": decimal.Decimal,
                "uuid": uuid.UUID,
                "bytes": base64.b64decode,
                "int": int,
            }[kind](text)
        return {key: from_json(item) for key, item in value.items()}
    return value


def to_json(value):
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53:
        return {"$python": ["int", str(value)]}
    if isinstance(value, bytes):
        return {"$python": ["bytes", base64.b64encode(value).decode()]}
    if isinstance(value, (datetime.datetime, datetime.date)):
        return {"$python": [type(value).__name__, value.isoformat()]}
    if isinstance(value, (decimal.Decimal, uuid.UUID)):
        return {"$python": [type(value).__name__.lower(), str(value)]}
    return value


def send(command):
    options = from_json(command.get("options", {}))
    if "eta_in" in options:
        options["eta"] = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=options.pop("eta_in"))
    result = app.send_task(command["task"], args=from_json(command.get("args", [])), kwargs=from_json(command.get("kwargs", {})), **options)
    return result.id


def signature(tree):
    """{"chain": [...]}, {"group": [...]}, {"chord": [[...], body]}, or {"task", "args", "queue"}."""
    if "chain" in tree:
        return chain(*[signature(each) for each in tree["chain"]])
    if "group" in tree:
        return group([signature(each) for each in tree["group"]])
    if "chord" in tree:
        header, body = tree["chord"]
        return chord([signature(each) for each in header], signature(body))
    task = app.signature(tree["task"], args=tree["args"], options={"queue": tree["queue"]})
    for link in tree.get("link", []):
        task.link(signature(link))
    for link in tree.get("link_error", []):
        task.link_error(signature(link))
    return task


def canvas(command):
    return signature(command["tree"]).apply_async().id


def canvas_tuple(command):
    """The result tuple of the whole, with the ids of all that is known of it."""
    return signature(command["tree"]).apply_async().as_tuple()


class Visitor(StampingVisitor):
    """Says of every part which hook was asked."""

    def on_signature(self, sig, **headers):
        return {"task": sig.task}

    def on_group_start(self, group, **headers):
        return {"in_group": "g", "part": "group"}

    def on_chain_start(self, chain, **headers):
        return {"in_chain": "c", "part": "chain"}

    def on_chord_body(self, sig, **headers):
        return {"body": "b", "part": "body"}

    def on_callback(self, callback, **headers):
        return {"called": callback.task}

    def on_errback(self, errback, **headers):
        return {"failed": errback.task, "only": 1, "stamped_headers": ["failed"]}


class Silent(StampingVisitor):
    """Adds nothing."""

    def on_signature(self, sig, **headers):
        return {}


def stamp(command):
    """The signature as data, after each of the stampings."""
    whole = signature(command["tree"])
    for each in command["stamps"]:
        whole.stamp(Visitor() if each["visitor"] else Silent() if each["silent"] else None, each["append"], **each["headers"])
    return json.loads(dumps(whole))


def get(command):
    result = AsyncResult(command["id"], app=app)
    try:
        value = result.get(timeout=command.get("timeout", 30))
        return {"state": result.state, "value": to_json(value)}
    except Exception as error:
        kind = type(error)
        return {
            "state": result.state,
            "error": {"type": kind.__name__, "module": kind.__module__, "args": to_json(list(error.args)), "builtin": kind.__module__ == "builtins"},
            "traceback": result.traceback,
        }


def state(command):
    result = AsyncResult(command["id"], app=app)
    return {"state": result.state, "info": repr(result.info)}


def control(command):
    """app.control.<name>(**kwargs): the replies, as Celery's own client collects them."""
    return getattr(app.control, command["name"])(*command.get("args", []), **command.get("kwargs", {}))


def inspect(command):
    return getattr(app.control.inspect(timeout=command.get("timeout", 2)), command["name"])()


COMMANDS = {"send": send, "canvas": canvas, "stamp": stamp, "canvas_tuple": canvas_tuple, "get": get, "state": state, "control": control, "inspect": inspect}

for line in sys.stdin:
    command = json.loads(line)
    try:
        answer = {"ok": COMMANDS[command["do"]](command)}
    except Exception as error:
        answer = {"failed": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
