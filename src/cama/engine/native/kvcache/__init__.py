"""Storage of keys and values; the accounting of cells is cama.engine.cells."""
