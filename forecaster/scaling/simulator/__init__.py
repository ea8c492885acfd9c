"""Replicas under a demand: the autoscaler sync by sync, who waits in line, what it all cost. It decides nothing."""
