"""Past forecasts judged by what came: pure scores, the table they are kept in, and the tick that fills it."""
