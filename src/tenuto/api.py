"""Nothing yet: flows of the Prefect 1 API may import the name `api`, and use nothing of it."""
