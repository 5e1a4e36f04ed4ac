"""What is done with a job, inside a worker."""
