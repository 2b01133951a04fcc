"""The main job shown on this machine: real servers, real processes, a Klarna stand-in."""
