"""`tidegauge backtest policy` and the gate before mode `act`: reading, the verdict kept, the answer drawn."""
