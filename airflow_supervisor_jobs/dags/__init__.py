"""Jobs as DAGs."""
