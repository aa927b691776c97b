"""Pure rules of the server: facts in, decisions out. No database, no clock, no socket."""
