"""The engine over libllama, for every model that the native engine does not define."""
