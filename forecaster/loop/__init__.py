"""The running loop: when it ticks, what it looks at, what it tells people, and which of several forecasters leads."""
