"""The worker that records a notification for every event, once, and delivers it to subscribers.

It has no code yet. It will hold the consumer of the event queue, the inbox that makes recording
happen once, and the delivery of webhooks. What it reads is written from the first day: the event
log of `WalletCore`. It imports `WalletCore`, and never `RestAPI`.
"""
