"""Alerts: when something is wrong, for how long, who was told. Routing trees and rotas are left to Alertmanager."""
