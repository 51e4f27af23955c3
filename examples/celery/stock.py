import os

from celery import Celery

app = Celery("stock", broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_RESULT_BACKEND"])


@app.task(name="stock.forecast")
def forecast(product, days):
    return {"total": len(product) * days}
