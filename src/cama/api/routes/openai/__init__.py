"""OpenAI's API: its requests read, answered as all others are, and written in its dialect."""
