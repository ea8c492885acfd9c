"""From forecast to floor: capacity, plan, guardrails, and the simulator that judges them."""
