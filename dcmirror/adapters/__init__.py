"""One foreign thing per file: Kafka, curl, file system, SQLite, certificates."""
