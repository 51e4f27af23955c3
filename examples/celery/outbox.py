"""Tasks that commit with the data of a Python program. `cursor` is Django's connection.cursor(), or psycopg's."""

import json
import uuid


def enqueue(cursor, task, args=(), kwargs=None, key=None, **options):
    """To be called in the transaction. Options are those of apply_async: queue, priority, countdown, eta, expires ..."""
    task_id = str(uuid.uuid4())
    cursor.execute(
        "INSERT INTO lovage_outbox (id, key, task, args, kwargs, options) VALUES (%s, %s, %s, %s, %s, %s)",
        [task_id, key, task, json.dumps(args), json.dumps(kwargs or {}), json.dumps(options)],
    )
    return task_id
