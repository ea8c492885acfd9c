"""The caches: L1 in the process, L2 in Redis or Valkey, and what HTTP caches in front are told.

`l1` keeps values by key and forgets them by tag; `l2` shares bytes between replicas; `tiers` asks one after the other
and lets one loader load; `answers` keeps whole responses and speaks HTTP's caching words; `invalidation` carries the
news of a change to every process that caches. What is cached, under which key and tags, is decided by the stores.
"""
