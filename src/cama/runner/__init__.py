"""The process boundary: one child process per loaded model."""
