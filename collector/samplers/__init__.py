"""What the collector goes and asks, every few seconds: databases, caches, the processes of every replica."""
