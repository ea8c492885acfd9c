# The CDN keeps what the booking app says may be kept (s-maxage, at most its 600 s), by the same key as the edge: path, all of the
# query, the encoding, the region. What is somebody's own (a token, a session that has just written) is passed on and never kept.
resource "aws_cloudfront_cache_policy" "answers" {
  name        = "tidegauge-answers"
  min_ttl     = 0
  default_ttl = 0
  max_ttl     = 600

  parameters_in_cache_key_and_forwarded_to_origin {
    enable_accept_encoding_gzip   = true
    enable_accept_encoding_brotli = true

    query_strings_config {
      query_string_behavior = "all"
    }

    headers_config {
      header_behavior = "whitelist"
      headers {
        items = ["authorization", "x-last-write", "x-region"]
      }
    }

    cookies_config {
      cookie_behavior = "whitelist"
      cookies {
        items = ["x-last-write"]
      }
    }
  }
}

data "aws_cloudfront_cache_policy" "none" {
  name = "Managed-CachingDisabled"
}

data "aws_cloudfront_origin_request_policy" "all_but_host" {
  name = "Managed-AllViewerExceptHostHeader"
}

resource "aws_cloudfront_distribution" "this" {
  enabled         = true
  is_ipv6_enabled = true
  http_version    = "http2and3"
  aliases         = [local.address]
  price_class     = "PriceClass_All"

  origin {
    origin_id   = "regions"
    domain_name = local.origin

    custom_origin_config {
      http_port              = 80
      https_port             = 443
      origin_protocol_policy = "https-only"
      origin_ssl_protocols   = ["TLSv1.2"]
      origin_read_timeout    = 30
    }
  }

  # What has an owner or a side effect.
  default_cache_behavior {
    target_origin_id         = "regions"
    viewer_protocol_policy   = "redirect-to-https"
    allowed_methods          = ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"]
    cached_methods           = ["GET", "HEAD"]
    cache_policy_id          = data.aws_cloudfront_cache_policy.none.id
    origin_request_policy_id = data.aws_cloudfront_origin_request_policy.all_but_host.id
    compress                 = true
  }

  dynamic "ordered_cache_behavior" {
    for_each = ["/api/flights/*", "/api/airports/*"]
    content {
      path_pattern           = ordered_cache_behavior.value
      target_origin_id       = "regions"
      viewer_protocol_policy = "redirect-to-https"
      allowed_methods        = ["GET", "HEAD"]
      cached_methods         = ["GET", "HEAD"]
      cache_policy_id        = aws_cloudfront_cache_policy.answers.id
      compress               = true
    }
  }

  restrictions {
    geo_restriction {
      restriction_type = "none"
    }
  }

  viewer_certificate {
    acm_certificate_arn      = aws_acm_certificate_validation.viewers.certificate_arn
    ssl_support_method       = "sni-only"
    minimum_protocol_version = "TLSv1.2_2021"
  }
}
