"""Dapr → audit journal (schema `audit`); HTTP out: where a run stands and what happened to it.

Every event of a run is journalled once, under its id, whatever the sidecar delivers: a repeat is counted, other
content under a known id is kept apart and raises an alarm, what cannot be read goes to the dead letters, which are
kept too until an admin replays or discards them, and after. Rows of the journal never change.
"""
