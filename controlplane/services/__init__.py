"""The servers Remit needs around it, for `make run` and the tests: a private PostgreSQL and Valkey, and the supervisor.

Imports neither Django nor the house: it is what starts them. In production these are services of your own, named by URL.
"""

from controlplane.services.surroundings import environment, session, stop
from controlplane.services.trouble import CannotStart

__all__ = ["CannotStart", "environment", "session", "stop"]
