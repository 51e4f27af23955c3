"""Members for a batch of Lovage's, from a Python program."""


def join_batch(redis, task, batch_id, rows, prefix="", **options):
    """Sends the task once for each row. `redis` is the result backend's, `prefix` its global_keyprefix. Options are those of apply_async."""
    first = redis.hincrby(f"{prefix}lovage:batch:{batch_id}", "total", len(rows)) - len(rows)
    for place, row in enumerate(rows, first):
        task.apply_async(
            (row,),
            task_id=f"{batch_id}.{place}",
            headers={"lovage_batch": [batch_id, place]},
            stamped_headers=["lovage_batch_id"],  # so that cancelling the batch reaches it
            lovage_batch_id=batch_id,
            **options,
        )
