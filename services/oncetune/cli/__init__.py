"""The person's door: serve, migrate, up, demo, and the requests of a user over HTTP.

Modules are imported by the command that needs them, so that `oncetune --help` answers at once and nothing here ever
loads torch.
"""
