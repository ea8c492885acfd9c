variable "region" {
  description = "AWS's name of the region."
  type        = string
}

variable "address" {
  description = "The service's name, as viewers know it."
  type        = string
}

variable "zones" {
  description = "Availability zones, each with a public and a private subnet."
  type        = list(string)
}

variable "network" {
  description = "The region's own network (CIDR, /16)."
  type        = string
}

variable "peer_networks" {
  description = "The other regions' networks, which may reach the database."
  type        = list(string)
}

variable "instances" {
  description = "Machines that run pods."
  type        = number
}

variable "instance_type" {
  description = "Of the machines."
  type        = string
  default     = "m7g.xlarge"
}

variable "kubernetes_version" {
  description = "Of the cluster."
  type        = string
}

variable "operator_networks" {
  description = "Networks from which the Kubernetes API may be asked."
  type        = list(string)
}

variable "database" {
  description = "The PostgreSQL servers here. primary: the one that is written to (multi-AZ) is here; source_arn: else of whom the replica is; backup_region: where copies of the backups go, null: nowhere."
  type = object({
    primary           = bool
    primary_class     = string
    replica_class     = string
    source_arn        = string
    login             = string
    backup_region     = string
    backup_keep_days  = number
    allocated_storage = number
  })
}

variable "database_password" {
  description = "Of the login."
  type        = string
  sensitive   = true
}

variable "redis_password" {
  description = "Of the caches' cluster and of the job queue."
  type        = string
  sensitive   = true
}
