output "address" {
  description = "Where viewers go."
  value       = "https://${local.address}"
}
