"""Task queues and fairness: one queue for the lives, one per provider for what calls it."""

from hashlib import sha256

from temporalio.common import Priority

from activities.messages import LifeIds

LIFE_QUEUE = "authpipe"
# Apart, so that receivers that hang keep no life from its row. No provider's id holds a dot.
DELIVERY_QUEUE = f"{LIFE_QUEUE}.delivery"
MAX_FAIRNESS_KEY = 64

NOW = 1
SOON = 2
SCHEDULED = 3
BEHIND = 4


def provider_queue(provider_id: str) -> str:
    """Where activities that call this provider run, so that its limits and its outages are its own."""
    return f"{LIFE_QUEUE}-{provider_id}"


def priority(life: LifeIds, urgency: int) -> Priority:
    """Tenants share a queue fairly; the server takes fairness keys of at most 64 bytes, so a longer one is hashed."""
    key = f"{life.workspace_id}/{life.tenant_id}"
    if len(key.encode()) > MAX_FAIRNESS_KEY:
        key = sha256(key.encode()).hexdigest()
    return Priority(priority_key=urgency, fairness_key=key)
