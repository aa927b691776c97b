"""Agents, which start the runs that a server has for them. They come with the server: there are none yet."""
