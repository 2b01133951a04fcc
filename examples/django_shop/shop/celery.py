"""The shop's own Celery app, on the broker that the payment session worker has as well."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

app = Celery("shop", broker=os.environ["REDIS_URL"])
app.conf.update(
    task_ignore_result=True,
    broker_transport_options={
        # A dead worker's message comes again after this long. The default is an hour, which is all
        # that an authorization has.
        "visibility_timeout": int(os.environ.get("SHOP_VISIBILITY_TIMEOUT", "300")),
        # A checkout does not wait for a broker that hangs: it gets an error within 5 seconds.
        "socket_connect_timeout": 2,
        "socket_timeout": 2,
    },
    task_publish_retry_policy={"max_retries": 1, "interval_start": 0},
)
app.autodiscover_tasks()
