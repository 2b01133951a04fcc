"""The name by which deployments choose beat's scheduler."""

from worker.celery_app.scheduler import SessionScheduler

__all__ = ["SessionScheduler"]
