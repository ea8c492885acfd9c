"""What one replica carries within its SLOs, as an interval; what several carry; whether production agrees."""
