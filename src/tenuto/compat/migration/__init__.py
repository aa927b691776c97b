"""
Files of the Prefect 1 API rewritten for Tenuto.

Texts in, texts and findings out; only `files` reads and writes.
"""
