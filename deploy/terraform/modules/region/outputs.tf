output "vpc_id" {
  description = "The region's network."
  value       = aws_vpc.this.id
}

output "network" {
  description = "Its addresses (CIDR)."
  value       = aws_vpc.this.cidr_block
}

output "route_table_ids" {
  description = "Of the private subnets, by zone."
  value       = { for zone, table in aws_route_table.private : zone => table.id }
}

output "cluster_name" {
  description = "Of the Kubernetes cluster."
  value       = aws_eks_cluster.this.name
}

output "database_arn" {
  description = "Of the primary; null where it is not."
  value       = var.database.primary ? aws_db_instance.primary[0].arn : null
}

output "database_address" {
  description = "Of the primary; null where it is not."
  value       = var.database.primary ? aws_db_instance.primary[0].address : null
}

output "replica_address" {
  description = "Of the replica that this region reads."
  value       = aws_db_instance.replica.address
}

output "redis_address" {
  description = "Of the caches' cluster."
  value       = aws_elasticache_replication_group.caches.configuration_endpoint_address
}

output "jobs_redis_address" {
  description = "Of the job queue."
  value       = aws_elasticache_replication_group.jobs.primary_endpoint_address
}
