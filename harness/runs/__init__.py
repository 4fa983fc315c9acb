"""The runs on record: what a folder holds, who writes it, and which records a spec refers to."""
