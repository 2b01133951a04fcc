"""The main job on this machine: real servers, real processes, a mock Klarna server."""
