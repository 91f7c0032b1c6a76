"""Where results live: a folder or a bucket. Each attempt has a place of its own, only `finish_run` makes one visible.

    <run>/<attempt>/adapter/…      the adapter's files
    <run>/<attempt>/adapter.tar    the same in one file: what is downloaded
    <run>/<attempt>/report.html, report.json, manifest.json, training.log
    <run>/checkpoints/…            see checkpoints.py: in a folder always

`store.py` says what a store does, `folder.py` and `bucket.py` do it, `links.py` signs what a folder's downloads need.
"""
