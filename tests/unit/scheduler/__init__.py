"""The scheduler without processes and without sleeping."""
