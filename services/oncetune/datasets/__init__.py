"""Preference rows, from wherever they come to what is stored and trained on.

    fetch (urls, addresses, dialing, decoding) ─▶ reading ─▶ rows (fields, openai, shared_prefix) ─▶ packing
                                                                                  canonical JSONL ─▶ quality/
                                                                                    stored chunks ─▶ unpacking

Nothing here knows a run, a database or torch; what cannot be trained on is a DatasetRefused with a code and a sentence.
"""
