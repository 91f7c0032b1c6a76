"""oncetune turns a preference dataset into one fine-tuned adapter, once.

    POST /trigger-finetune ─▶ trigger ─▶ ledger ─▶ relay ─▶ sidecar ─▶ trainer ─▶ training (child process)
    GET  /runs/{id}        ◀─ status  ◀─ ledger        └──▶ sidecar ─▶ status ─▶ audit journal

A *run* is a recorded request. An *attempt* is one try at it; a *lease* is the right to that try, and the
attempt's number is its *fence*. Every change of a run writes one numbered event into the *outbox*; the *relay*
publishes it until the *journal* holds it. The ledger decides, messages only wake.
"""
