"""Settings of the world: everything that lasts is short, and a run that is well may be struck often."""

LEASE_SECONDS = 2.0
MAX_STRIKES = 100  # kills in quick succession strike a run that is well eight times: none may fail
BAD_STRIKES = 3  # what one that cannot succeed has left of them
QUICK = {
    "ONCETUNE_TRAINER_LEASE": f"PT{LEASE_SECONDS}S",
    "ONCETUNE_TRAINER_RENEW_EVERY": "PT0.5S",
    "ONCETUNE_TRAINER_POLL_EVERY": "PT0.2S",
    "ONCETUNE_TRAINER_PROGRESS_DEADLINE": "PT6S",  # a fetch with its second tries is one step
    "ONCETUNE_TRAINER_DISK_GRACE": "PT1S",  # shorter than a disk is full: attempts end of it, too
    "ONCETUNE_TRAINER_CHILD_GRACE": "PT1S",  # that of a child that hangs is spent in full
    "ONCETUNE_TRAINER_SWEEP_EVERY": "PT5S",  # it looks at every run that ever was
    "ONCETUNE_TRIGGER_EXPIRE_EVERY": "PT0.25S",
    "ONCETUNE_TRIGGER_SWEEP_EVERY": "PT1S",
    "ONCETUNE_TRIGGER_MAX_REQUEUE_BACKOFF": "PT2S",
    "ONCETUNE_TRIGGER_MAX_STRIKES": f"{MAX_STRIKES}",
    "ONCETUNE_TRIGGER_RUNS_PER_MINUTE": "1000000",
}
# A run that was asked for with another end than `finish`, see tests/chaos/load.py, is recorded with its strikes nearly
# used up: the world can wait for its end, and its last strikes are counted like those of any other.
BAD_RUNS = f"""
CREATE FUNCTION ledger.has_few_strikes_left() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.strikes := {MAX_STRIKES - BAD_STRIKES}; RETURN NEW; END $$;
CREATE TRIGGER bad_runs BEFORE INSERT ON ledger.run FOR EACH ROW WHEN (NEW.exp_name <> 'finish')
    EXECUTE FUNCTION ledger.has_few_strikes_left();
"""
