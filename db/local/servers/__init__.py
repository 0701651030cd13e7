"""Private PostgreSQL and RabbitMQ servers."""
