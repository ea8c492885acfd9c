# The caches: a cluster of three shards, each with a replica in another zone; what it forgets is loaded again. The job queue: one
# shard, which forgets nothing (BullMQ asks for noeviction).
resource "aws_elasticache_subnet_group" "this" {
  name       = "tidegauge"
  subnet_ids = [for subnet in aws_subnet.private : subnet.id]
}

resource "aws_elasticache_parameter_group" "caches" {
  name   = "tidegauge-caches"
  family = "valkey8"

  parameter {
    name  = "cluster-enabled"
    value = "yes"
  }

  parameter {
    name  = "maxmemory-policy"
    value = "volatile-lru"
  }
}

resource "aws_elasticache_parameter_group" "jobs" {
  name   = "tidegauge-jobs"
  family = "valkey8"

  parameter {
    name  = "maxmemory-policy"
    value = "noeviction"
  }
}

resource "aws_elasticache_replication_group" "caches" {
  replication_group_id       = "tidegauge-caches"
  description                = "The shared caches of the booking app."
  engine                     = "valkey"
  engine_version             = "8.1"
  node_type                  = "cache.r7g.large"
  port                       = 6379
  num_node_groups            = 3
  replicas_per_node_group    = 1
  automatic_failover_enabled = true
  multi_az_enabled           = true
  parameter_group_name       = aws_elasticache_parameter_group.caches.name
  subnet_group_name          = aws_elasticache_subnet_group.this.name
  security_group_ids         = [aws_security_group.redis.id]
  at_rest_encryption_enabled = true
  transit_encryption_enabled = true
  auth_token                 = var.redis_password
}

resource "aws_elasticache_replication_group" "jobs" {
  replication_group_id       = "tidegauge-jobs"
  description                = "The job queue of the booking app."
  engine                     = "valkey"
  engine_version             = "8.1"
  node_type                  = "cache.r7g.large"
  port                       = 6379
  num_cache_clusters         = 2
  automatic_failover_enabled = true
  multi_az_enabled           = true
  parameter_group_name       = aws_elasticache_parameter_group.jobs.name
  subnet_group_name          = aws_elasticache_subnet_group.this.name
  security_group_ids         = [aws_security_group.redis.id]
  at_rest_encryption_enabled = true
  transit_encryption_enabled = true
  auth_token                 = var.redis_password
}
