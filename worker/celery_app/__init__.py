"""The parts of the Celery app: consumer, redaction, bootsteps, scheduler, transport, Flower."""
