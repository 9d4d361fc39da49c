"""What it costs, measured beside what else people use: ``make bench``."""
