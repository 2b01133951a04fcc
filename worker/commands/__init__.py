"""What the `session-worker` commands do; `worker.cli` names them and their options."""
