"""What the ledger becomes: gradebook, feedback, class report, and exports; nothing here decides a point."""
