# The load balancer's, which its controller finds by the host of the Ingress. Validated by the record that modules/global makes.
resource "aws_acm_certificate" "balancer" {
  domain_name               = var.address
  subject_alternative_names = ["*.${var.address}"]
  validation_method         = "DNS"

  lifecycle {
    create_before_destroy = true
  }
}
