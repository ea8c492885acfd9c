"""The child that sends and the parent's end of it: users, journeys, the lean client, Locust, and their words."""
