# The regions' private networks, each joined to each: the app writes to the primary and reads the others' replicas over them.
terraform {
  required_providers {
    aws = {
      source                = "hashicorp/aws"
      version               = "~> 6.0"
      configuration_aliases = [aws.us_east_1, aws.eu_west_1, aws.us_west_2]
    }
  }
}

variable "regions" {
  description = "By region: its network, the addresses, and the route tables of the private subnets by zone."
  type = map(object({
    vpc_id          = string
    network         = string
    route_table_ids = map(string)
  }))
}

resource "aws_vpc_peering_connection" "east_europe" {
  provider    = aws.us_east_1
  vpc_id      = var.regions["us_east_1"].vpc_id
  peer_vpc_id = var.regions["eu_west_1"].vpc_id
  peer_region = "eu-west-1"
}

resource "aws_vpc_peering_connection_accepter" "east_europe" {
  provider                  = aws.eu_west_1
  vpc_peering_connection_id = aws_vpc_peering_connection.east_europe.id
  auto_accept               = true
}

resource "aws_vpc_peering_connection" "east_west" {
  provider    = aws.us_east_1
  vpc_id      = var.regions["us_east_1"].vpc_id
  peer_vpc_id = var.regions["us_west_2"].vpc_id
  peer_region = "us-west-2"
}

resource "aws_vpc_peering_connection_accepter" "east_west" {
  provider                  = aws.us_west_2
  vpc_peering_connection_id = aws_vpc_peering_connection.east_west.id
  auto_accept               = true
}

resource "aws_vpc_peering_connection" "europe_west" {
  provider    = aws.eu_west_1
  vpc_id      = var.regions["eu_west_1"].vpc_id
  peer_vpc_id = var.regions["us_west_2"].vpc_id
  peer_region = "us-west-2"
}

resource "aws_vpc_peering_connection_accepter" "europe_west" {
  provider                  = aws.us_west_2
  vpc_peering_connection_id = aws_vpc_peering_connection.europe_west.id
  auto_accept               = true
}

resource "aws_route" "east_to_europe" {
  for_each                  = var.regions["us_east_1"].route_table_ids
  provider                  = aws.us_east_1
  route_table_id            = each.value
  destination_cidr_block    = var.regions["eu_west_1"].network
  vpc_peering_connection_id = aws_vpc_peering_connection.east_europe.id
}

resource "aws_route" "europe_to_east" {
  for_each                  = var.regions["eu_west_1"].route_table_ids
  provider                  = aws.eu_west_1
  route_table_id            = each.value
  destination_cidr_block    = var.regions["us_east_1"].network
  vpc_peering_connection_id = aws_vpc_peering_connection.east_europe.id
}

resource "aws_route" "east_to_west" {
  for_each                  = var.regions["us_east_1"].route_table_ids
  provider                  = aws.us_east_1
  route_table_id            = each.value
  destination_cidr_block    = var.regions["us_west_2"].network
  vpc_peering_connection_id = aws_vpc_peering_connection.east_west.id
}

resource "aws_route" "west_to_east" {
  for_each                  = var.regions["us_west_2"].route_table_ids
  provider                  = aws.us_west_2
  route_table_id            = each.value
  destination_cidr_block    = var.regions["us_east_1"].network
  vpc_peering_connection_id = aws_vpc_peering_connection.east_west.id
}

resource "aws_route" "europe_to_west" {
  for_each                  = var.regions["eu_west_1"].route_table_ids
  provider                  = aws.eu_west_1
  route_table_id            = each.value
  destination_cidr_block    = var.regions["us_west_2"].network
  vpc_peering_connection_id = aws_vpc_peering_connection.europe_west.id
}

resource "aws_route" "west_to_europe" {
  for_each                  = var.regions["us_west_2"].route_table_ids
  provider                  = aws.us_west_2
  route_table_id            = each.value
  destination_cidr_block    = var.regions["eu_west_1"].network
  vpc_peering_connection_id = aws_vpc_peering_connection.europe_west.id
}
