"""Settings, Celery configuration and logging: what a deployment may change."""
