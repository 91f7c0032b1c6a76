"""Everything that writes over HTTP, and the loops that follow from it: the relay and the expiry of leases."""
