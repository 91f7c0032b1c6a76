-- Record what was decided about a dead letter. No row back: it was decided before, and that decision stands.
INSERT INTO audit.dead_letter_decision (topic, sha256, decision, outcome, decided_by)
VALUES (:topic, :sha256, :decision, :outcome, :decided_by)
    ON CONFLICT (topic, sha256) DO NOTHING
RETURNING decided_at;
