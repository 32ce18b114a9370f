"""What an engine computes of a text, written down so that another's can be laid beside it."""
