-- Keep the bytes of a dead letter, once for each content.
INSERT INTO audit.dead_letter (sha256, topic, reason, body)
VALUES (:sha256, :topic, :reason, :body)
    ON CONFLICT (topic, sha256) DO NOTHING;
