"""
The server: takes in what runs report, hands out what is due, and shows both.

It never runs flow code, never unpickles and never imports a name that it found in data.
"""
