"""The shop's own Celery app, on the broker that the payment session worker has as well."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

app = Celery("shop", broker=os.environ["REDIS_URL"])
app.conf.update(
    task_ignore_result=True,
    # A dead worker's message comes again after this long. The default is an hour, which is all
    # that an authorization has.
    broker_transport_options={
        "visibility_timeout": int(os.environ.get("SHOP_VISIBILITY_TIMEOUT", "300"))
    },
)
app.autodiscover_tasks()
