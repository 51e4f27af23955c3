"""Reads what Lovage wrote with each serializer, says what differs from the JSON, and writes it again with its own."""

import base64
import json
import sys

from kombu import serialization
from kombu.utils.json import dumps, loads

serialization.register_yaml()
serialization.register_msgpack()

answers = []
for row in json.load(sys.stdin):
    expected = loads(row["json"])
    answer = {"differs": [], "again": {"json": base64.b64encode(dumps(expected).encode()).decode()}}
    for name, content_type, encoding in (
        ("yaml", "application/x-yaml", "utf-8"),
        ("msgpack", "application/x-msgpack", "binary"),
    ):
        if name not in row:
            continue
        body = base64.b64decode(row[name])
        read = serialization.loads(body, content_type, encoding, accept={content_type})
        if read != expected:
            answer["differs"].append(f"{name}: {read!r} is not {expected!r}")
        _, _, written = serialization.dumps(expected, serializer=name)
        written = written if isinstance(written, bytes) else written.encode()
        answer["again"][name] = base64.b64encode(written).decode()
    answers.append(answer)
json.dump(answers, sys.stdout)
