"""Tells other systems the record's metrics: requests, durations, SLOs, budgets, burn rates. Off until configured."""
