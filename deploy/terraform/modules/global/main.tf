# Above the regions: origin.HOST leads to the nearest region that is well, HOST to the CDN in front of it.
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
}

locals {
  address = "${var.host}.${var.domain}"
  origin  = "origin.${local.address}"
}

data "aws_route53_zone" "this" {
  name = var.domain
}

# Each region's own name: what its health is asked by.
resource "aws_route53_record" "region" {
  for_each = var.balancers
  zone_id  = data.aws_route53_zone.this.zone_id
  name     = "${each.key}.${local.address}"
  type     = "A"

  alias {
    name                   = each.value.name
    zone_id                = each.value.zone_id
    evaluate_target_health = true
  }
}

resource "aws_route53_health_check" "region" {
  for_each          = var.balancers
  fqdn              = aws_route53_record.region[each.key].name
  port              = 443
  type              = "HTTPS"
  resource_path     = "/readyz"
  request_interval  = 10
  failure_threshold = 3
  enable_sni        = true
  tags              = { Name = "tidegauge-${each.key}" }
}

resource "aws_route53_record" "origin" {
  for_each        = var.balancers
  zone_id         = data.aws_route53_zone.this.zone_id
  name            = local.origin
  type            = "A"
  set_identifier  = each.key
  health_check_id = aws_route53_health_check.region[each.key].id

  latency_routing_policy {
    region = each.key
  }

  alias {
    name                   = each.value.name
    zone_id                = each.value.zone_id
    evaluate_target_health = true
  }
}

resource "aws_route53_record" "viewers" {
  for_each = toset(["A", "AAAA"])
  zone_id  = data.aws_route53_zone.this.zone_id
  name     = local.address
  type     = each.key

  alias {
    name                   = aws_cloudfront_distribution.this.domain_name
    zone_id                = aws_cloudfront_distribution.this.hosted_zone_id
    evaluate_target_health = false
  }
}

resource "aws_acm_certificate" "viewers" {
  domain_name       = local.address
  validation_method = "DNS" # the record is the same for the regions' certificates of this name

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route53_record" "validation" {
  for_each = { for option in aws_acm_certificate.viewers.domain_validation_options : option.domain_name => option }
  zone_id  = data.aws_route53_zone.this.zone_id
  name     = each.value.resource_record_name
  type     = each.value.resource_record_type
  records  = [each.value.resource_record_value]
  ttl      = 300
}

resource "aws_acm_certificate_validation" "viewers" {
  certificate_arn         = aws_acm_certificate.viewers.arn
  validation_record_fqdns = [for record in aws_route53_record.validation : record.fqdn]
}
