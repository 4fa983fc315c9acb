"""The runs on record: what a run folder holds, which process writes it, and which records a spec refers to."""
