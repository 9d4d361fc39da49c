"""The main job, shown whole: ``python -m demo``."""
