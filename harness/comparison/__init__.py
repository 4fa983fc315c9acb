"""Runs beside each other and beside what others published: the table, its protocol columns, the pair at one view."""
