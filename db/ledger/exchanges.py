"""Names of the broker's exchanges and routing keys, which flows outside know."""

from typing import Final

COMMANDS: Final = "tenantry.commands"
"""Direct exchange for commands to the provisioners, all with one routing key."""
EVENTS: Final = "tenantry.events"
"""Topic exchange for events; an event's routing key is its type."""
SIGNUP: Final = "tenantry.signup"
"""Direct exchange to which flows outside send sign-ups."""

COMMANDS_KEY: Final = "provisioner"
SIGNUP_KEY: Final = "tenant.signup"
