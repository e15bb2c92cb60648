"""Ending a run, or what is around, with an error of the author's own."""
