# Three regions, each able to do without the others, and what is above them. The primary database is in us-east-1; each region
# reads a replica of its own, for the purpose that tidegauge/settings.py gives that region.

resource "random_password" "database" {
  length  = 32
  special = false
}

resource "random_password" "redis" {
  length  = 32
  special = false
}

locals {
  purposes = {
    search    = "us-east-1"
    analytics = "us-west-2"
    profiles  = "eu-west-1"
  }
  database_login = "booking:${random_password.database.result}"
}

module "us_east_1" {
  source    = "./modules/region"
  providers = { aws = aws.us_east_1, aws.backup = aws.us_west_2 }

  region             = "us-east-1"
  address            = "${var.host}.${var.domain}"
  zones              = ["us-east-1a", "us-east-1b", "us-east-1c"]
  network            = "10.10.0.0/16"
  instances          = 6
  kubernetes_version = var.kubernetes_version
  operator_networks  = var.operator_networks
  peer_networks      = ["10.20.0.0/16", "10.30.0.0/16"]

  database = {
    primary           = true
    primary_class     = "db.r6g.2xlarge"
    replica_class     = "db.r6g.xlarge"
    source_arn        = null
    login             = "booking"
    backup_region     = "us-west-2"
    backup_keep_days  = 35
    allocated_storage = 500
  }
  database_password = random_password.database.result
  redis_password    = random_password.redis.result
}

module "eu_west_1" {
  source    = "./modules/region"
  providers = { aws = aws.eu_west_1, aws.backup = aws.eu_central_1 }

  region             = "eu-west-1"
  address            = "${var.host}.${var.domain}"
  zones              = ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
  network            = "10.20.0.0/16"
  instances          = 4
  kubernetes_version = var.kubernetes_version
  operator_networks  = var.operator_networks
  peer_networks      = ["10.10.0.0/16", "10.30.0.0/16"]

  database = {
    primary           = false
    primary_class     = null
    replica_class     = "db.r6g.xlarge"
    source_arn        = module.us_east_1.database_arn
    login             = "booking"
    backup_region     = "eu-central-1"
    backup_keep_days  = 35
    allocated_storage = 500
  }
  database_password = random_password.database.result
  redis_password    = random_password.redis.result
}

# Its figures are ours to choose: an instance a zone, no copy of its backups (they would be the third).
module "us_west_2" {
  source    = "./modules/region"
  providers = { aws = aws.us_west_2, aws.backup = aws.us_east_1 }

  region             = "us-west-2"
  address            = "${var.host}.${var.domain}"
  zones              = ["us-west-2a", "us-west-2b", "us-west-2c"]
  network            = "10.30.0.0/16"
  instances          = 3
  kubernetes_version = var.kubernetes_version
  operator_networks  = var.operator_networks
  peer_networks      = ["10.10.0.0/16", "10.20.0.0/16"]

  database = {
    primary           = false
    primary_class     = null
    replica_class     = "db.r6g.xlarge"
    source_arn        = module.us_east_1.database_arn
    login             = "booking"
    backup_region     = null
    backup_keep_days  = 35
    allocated_storage = 500
  }
  database_password = random_password.database.result
  redis_password    = random_password.redis.result
}

module "network" {
  source    = "./modules/network"
  providers = { aws.us_east_1 = aws.us_east_1, aws.eu_west_1 = aws.eu_west_1, aws.us_west_2 = aws.us_west_2 }

  regions = {
    us_east_1 = { vpc_id = module.us_east_1.vpc_id, network = module.us_east_1.network, route_table_ids = module.us_east_1.route_table_ids }
    eu_west_1 = { vpc_id = module.eu_west_1.vpc_id, network = module.eu_west_1.network, route_table_ids = module.eu_west_1.route_table_ids }
    us_west_2 = { vpc_id = module.us_west_2.vpc_id, network = module.us_west_2.network, route_table_ids = module.us_west_2.route_table_ids }
  }
}

# Each region's load balancer is made by its Ingress and found by the name that the overlay gives it.
data "aws_lb" "us_east_1" {
  count    = var.balancers_exist ? 1 : 0
  provider = aws.us_east_1
  name     = "tidegauge-us-east-1"
}

data "aws_lb" "eu_west_1" {
  count    = var.balancers_exist ? 1 : 0
  provider = aws.eu_west_1
  name     = "tidegauge-eu-west-1"
}

data "aws_lb" "us_west_2" {
  count    = var.balancers_exist ? 1 : 0
  provider = aws.us_west_2
  name     = "tidegauge-us-west-2"
}

module "global" {
  source = "./modules/global"
  count  = var.balancers_exist ? 1 : 0

  domain = var.domain
  host   = var.host
  balancers = {
    "us-east-1" = { name = data.aws_lb.us_east_1[0].dns_name, zone_id = data.aws_lb.us_east_1[0].zone_id }
    "eu-west-1" = { name = data.aws_lb.eu_west_1[0].dns_name, zone_id = data.aws_lb.eu_west_1[0].zone_id }
    "us-west-2" = { name = data.aws_lb.us_west_2[0].dns_name, zone_id = data.aws_lb.us_west_2[0].zone_id }
  }
}
