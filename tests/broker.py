"""What the broker itself says of its queues and channels."""

import asyncio

from db.local.servers.rabbitmq import RabbitNode


async def unacknowledged(node: RabbitNode) -> int:
    """Return the number of messages that the broker has handed over on its open channels and not got settled."""
    listed = await asyncio.to_thread(node.ctl, "list_channels", "messages_unacknowledged")
    return sum(int(line) for line in listed.split() if line.isdigit())
