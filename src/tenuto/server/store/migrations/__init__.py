"""The steps by which a database becomes what this version needs: numbered, forward only."""
