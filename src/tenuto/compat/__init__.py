"""What lets flows of the Prefect 1 API run here, and would bend the rest of Tenuto: rooms of its own."""
