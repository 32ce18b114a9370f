"""The HTTP API in process, over a real store and a runner that does what a test says."""
