"""What is Celery's: consumer, bootsteps, scheduler, event loop, Redis transport, Flower."""
