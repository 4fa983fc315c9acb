"""Tables, text, HTML and charts as text. Knows nothing about runs."""
