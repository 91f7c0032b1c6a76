-- One compressed piece of a dataset, at most 1 MiB.
INSERT INTO ledger.dataset_chunk (sha256, number, content) VALUES (:sha256, :number, :content)
