"""What the server remembers. Only `sql` knows SQL."""
