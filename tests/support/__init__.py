"""What tests share: servers, processes, waiting for facts. Nothing here asserts for a test."""
