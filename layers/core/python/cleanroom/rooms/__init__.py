"""Pure: parties, linked tables, settings, policies and the arithmetic of the ledger."""
