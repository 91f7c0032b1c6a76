"""Alembic, linear, expand then contract. Who may do what on which table is this one matrix; a test holds it.

| table                     | trigger       | trainer       | status        |
|---------------------------|---------------|---------------|---------------|
| ledger.run                | select insert update | select update | select |
| ledger.dataset            | select insert update | select insert update | select |
| ledger.dataset_chunk      | select insert | select insert | - |
| ledger.download_token     | select insert update delete | - | - |
| ledger.request_key        | select insert update delete | - | - |
| ledger.outbox             | select insert update delete | select insert | select |
| audit.journal             | select (event_id, hash) | - | select insert |
| audit.delivery            | - | select (run_id, outcome, count) | select insert update |
| audit.conflict            | - | - | select insert |
| audit.dead_letter         | - | - | select insert |
| audit.dead_letter_decision | - | - | select insert |

Each service connects with a login of its own that is a member of `oncetune_<service>`, or with a shared login that
is a member of all three; either way it takes its role as soon as it is connected. The migrator owns everything.
"""
