"""The training child: recipe in, adapter and progress lines out. The only room with torch.

    python -m oncetune.training FOLDER      train one adapter (the protocol is contracts/progress.py)
    python -m oncetune.training.answers REQUEST.json      answers of a base model and of an adapter, side by side

    __main__ ─▶ run: model (locate) ─▶ rows (read, tokenise, judge) ─▶ held_out (split)
             ─▶ dpo (train, report, evaluate, checkpoint) ─▶ samples ─▶ adapter (save, prove) ─▶ record

No database, no lease, no network but the model hub. Every file raises `Refusal` for what can never succeed;
whatever may pass by itself (no memory, no disk, no network) stays an ordinary exception and kills the child.
"""
