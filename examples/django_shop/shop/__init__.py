"""The project; its Celery app is there whenever Django is, so that views can send tasks."""

from shop.celery import app as celery_app

__all__ = ["celery_app"]
