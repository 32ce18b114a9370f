"""Which model runs in which process: leases, queue, placement, eviction, expiry."""
