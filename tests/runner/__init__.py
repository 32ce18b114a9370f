"""Runner processes: the real worker and loop, with an engine that fails where it is told to."""
