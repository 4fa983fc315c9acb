"""Reports on finished runs: the page with its sections, pictures, and tables for other programs."""
