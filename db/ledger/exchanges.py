"""Channels: the exchanges and routing keys that messages go by, as flows outside know them."""

from typing import Final

COMMANDS: Final = "tenantry.commands"
"""Direct; to the provisioners, all under one key."""
EVENTS: Final = "tenantry.events"
"""Topic; an event's routing key is its type."""
SIGNUP: Final = "tenantry.signup"
"""Direct; where flows outside send their sign-ups."""

COMMANDS_KEY: Final = "provisioner"
SIGNUP_KEY: Final = "tenant.signup"
