"""Tasks that change the workflow they are part of. Queues are named in the signatures that come in."""

from celery import chain, chord, group, signature

from peer_app import app


def call(name, *args):
    return signature(name, args=args, options={"queue": name.split(".")[0]}, app=app)


@app.task(name="python.replace", bind=True)
def replace(self, value, kind, lang):
    add = f"{lang}.add"
    raise self.replace(
        {
            "task": lambda: call(add, value, 1),
            "chain": lambda: chain(call(add, value, 1), call(add, 10)),
            "group": lambda: group(call(add, value, 1), call(add, value, 2)),
            "chord": lambda: chord([call(add, value, 1), call(add, value, 2)], call(f"{lang}.sum")),
            "again": lambda: call(f"{lang}.replace", value, "task", lang),
            "fail": lambda: chain(call(f"{lang}.fail", "boom"), call(add, 1)),
        }[kind]()
    )


@app.task(name="python.extend", bind=True)
def extend(self, value, lang):
    self.add_to_chord(call(f"{lang}.add", value, 10))
    return value


@app.task(name="cap.add")
def cap_add(x, y):
    return x + y


@app.task(name="cap.xsum")
def cap_xsum(numbers):
    return sum(numbers)


@app.task(name="cap.fail")
def cap_fail(msg="boom"):
    raise ValueError(msg, 42)


@app.task(name="cap.on_error")
def cap_on_error(task_id):
    return f"errback {task_id}"
