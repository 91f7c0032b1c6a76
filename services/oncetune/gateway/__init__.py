"""The contract with the gateway: who calls, and how a refusal looks."""
