"""`tidegauge doctor`: looks at everything a newcomer gets wrong, says what to do, and changes nothing.

`probes` asks the world, `checks` judges what it said (pure), `examine` puts the two together.
"""
