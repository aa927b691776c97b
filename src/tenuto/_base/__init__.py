"""Small helpers that know nothing of flows. Not public; the public doors are in `tenuto.utilities`."""
