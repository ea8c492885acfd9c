"""What people know of the days ahead, over any forecast: events, their learnt effects, and what if one happens."""
