"""Which brokers this machine has, and where each comes from."""

from tests.brokers import packages

BROKERS_HERE = {
    "redis": packages.redis,
    "rabbitmq": packages.rabbitmq,
    "jetstream": packages.jetstream,
    "kafka": packages.kafka,
}
