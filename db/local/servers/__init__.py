"""Private PostgreSQL and RabbitMQ servers on this machine."""
