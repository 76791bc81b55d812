"""What public test suites of private SQL accept and refuse, and what becomes of the same points here."""
