"""How rows reach a receiver: one module a kind of receiver.

What belongs here: transport, and saying what became of each sending. What does not: which rows go
(``plan``), and the ledger (``outbox``).
"""
