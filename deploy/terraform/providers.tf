# us-east-1 is the default: CloudFront's certificates have to lie there.
provider "aws" {
  region = "us-east-1"
}

provider "aws" {
  alias  = "us_east_1"
  region = "us-east-1"
}

provider "aws" {
  alias  = "eu_west_1"
  region = "eu-west-1"
}

provider "aws" {
  alias  = "us_west_2"
  region = "us-west-2"
}

# Only backups lie here.
provider "aws" {
  alias  = "eu_central_1"
  region = "eu-central-1"
}
