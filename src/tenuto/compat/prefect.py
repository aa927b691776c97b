"""
Imported for its effect: from then on, `import prefect` finds Tenuto.

    import tenuto.compat.prefect
    from prefect import Flow, task
"""

from tenuto.compat.shim import install

__all__: list[str] = []

install()
