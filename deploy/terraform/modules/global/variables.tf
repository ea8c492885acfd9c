variable "domain" {
  description = "The zone in Route 53."
  type        = string
}

variable "host" {
  description = "The service's name within the domain."
  type        = string
}

variable "balancers" {
  description = "By region, its load balancer's DNS name and its hosted zone."
  type        = map(object({ name = string, zone_id = string }))
}
