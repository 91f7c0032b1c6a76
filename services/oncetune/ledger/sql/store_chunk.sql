-- One more piece of a dataset that this transaction is storing.
INSERT INTO ledger.dataset_chunk (sha256, number, content)
VALUES (:sha256, :number, :chunk)
