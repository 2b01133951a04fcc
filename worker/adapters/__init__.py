"""The outside world behind the ports of `worker.services`; each names its technology."""
