"""OpenAI's dialect: pure functions from its requests to ours, and from our answers to its own."""
