"""A kombu consumer on a queue that other workers drain: how long its reject and its sweep take beside them. One JSON line."""

import json
import sys
import time

from kombu import Connection

url, queue, wanted = sys.argv[1], sys.argv[2], int(sys.argv[3])
rejects, sweeps = [], []

with Connection(url) as connection:
    channel = connection.channel()
    print("ready", flush=True)
    sys.stdin.readline()
    deadline = time.monotonic() + 60
    while len(rejects) < wanted and time.monotonic() < deadline:
        message = channel.basic_get(queue)
        if message is None:
            continue
        began = time.perf_counter()
        channel.basic_reject(message.delivery_tag, requeue=True)
        rejects.append(time.perf_counter() - began)
        began = time.perf_counter()
        channel.qos.restore_visible(num=10)
        sweeps.append(time.perf_counter() - began)
    print(json.dumps({"rejects": sorted(rejects), "sweeps": sorted(sweeps)}), flush=True)
