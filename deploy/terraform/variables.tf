variable "domain" {
  description = "The zone in Route 53 that the service's names stand in; it exists already."
  type        = string
}

variable "host" {
  description = "The service's name within the domain; the Ingress of deploy/kubernetes/components/load-balancer serves it."
  type        = string
  default     = "flights"
}

variable "balancers_exist" {
  description = "Whether the overlays have been applied, so that each region has its load balancer. The first apply is made with false, the second with true."
  type        = bool
  default     = false
}

variable "kubernetes_version" {
  description = "Of the clusters. From 1.30 on a pod's preStop may sleep by itself."
  type        = string
  default     = "1.33"
}

variable "operator_networks" {
  description = "Networks (CIDR) from which the Kubernetes API may be asked. No default: the world is none."
  type        = list(string)
}

variable "admin_token" {
  description = "REFERENCE_APP_ADMIN_TOKEN, at least 16 characters. No default."
  type        = string
  sensitive   = true

  validation {
    condition     = length(var.admin_token) >= 16
    error_message = "The booking app takes an administrator's token of at least 16 characters."
  }
}
