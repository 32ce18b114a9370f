"""The client of Cama's HTTP API, which the command line uses."""
