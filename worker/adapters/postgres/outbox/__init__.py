"""The repository of outbox messages and deliveries."""
