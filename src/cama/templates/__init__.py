"""Messages to prompt text: the chat templates that come inside model files."""
