"""The decision: demand with quantiles, and from it the floor of the HorizontalPodAutoscaler ahead of the peak."""
