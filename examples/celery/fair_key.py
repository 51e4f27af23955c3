"""Sends rows of many tenants to a fair queue of Lovage workers."""
from celery import Celery

app = Celery("imports")


# region send
def import_row(tenant, row):
    """The header says whose turn the task waits for."""
    return app.send_task(
        "imports.row",
        (tenant, row),
        queue="imports",
        headers={"fair_key": tenant},
    )
# endregion
