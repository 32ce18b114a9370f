"""Go's text/template language: a reader of our own, whose templates end within limits."""
