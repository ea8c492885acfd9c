locals {
  regions = {
    "us-east-1" = module.us_east_1
    "eu-west-1" = module.eu_west_1
    "us-west-2" = module.us_west_2
  }
  replicas = join(" ", [
    for purpose, region in local.purposes :
    "${purpose}@${region}=postgresql://${local.database_login}@${local.regions[region].replica_address}:5432/booking"
  ])
}

output "clusters" {
  description = "The Kubernetes clusters by region: aws eks update-kubeconfig --region REGION --name NAME."
  value       = { for name, region in local.regions : name => region.cluster_name }
}

output "secrets" {
  description = "By region, the Secrets that deploy/kubernetes/secrets.toml marks with terraform = true."
  sensitive   = true
  value = {
    for name, region in local.regions : name => {
      "reference-app" = {
        REFERENCE_APP_DATABASE_URL = "postgresql://${local.database_login}@${module.us_east_1.database_address}:5432/booking"
        REFERENCE_APP_REPLICAS     = local.replicas
        REFERENCE_APP_REDIS_URL    = "rediss://:${random_password.redis.result}@${region.redis_address}:6379/0"
        REFERENCE_APP_ADMIN_TOKEN  = var.admin_token
      }
      "reference-app-jobs" = {
        REFERENCE_APP_JOBS_REDIS_URL = "rediss://:${random_password.redis.result}@${region.jobs_redis_address}:6379/0"
      }
      "samplers" = {
        TIDEGAUGE_SAMPLE_POSTGRES_URLS = "postgresql://${local.database_login}@${region.replica_address}:5432/booking"
        TIDEGAUGE_SAMPLE_REDIS_URLS    = "rediss://:${random_password.redis.result}@${region.jobs_redis_address}:6379/0"
      }
    }
  }
}

output "address" {
  description = "Where viewers go, once the load balancers exist."
  value       = var.balancers_exist ? module.global[0].address : null
}
