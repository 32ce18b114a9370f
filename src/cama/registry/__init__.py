"""Models from elsewhere: the protocol of registries, and what else they are fetched by."""
