# The primary, where it is here: two machines in two zones. The replica that this region reads, and copies of the backups.
resource "aws_db_subnet_group" "this" {
  name       = "tidegauge"
  subnet_ids = [for subnet in aws_subnet.private : subnet.id]
}

resource "aws_db_parameter_group" "this" {
  name   = "tidegauge"
  family = "postgres18"

  parameter {
    name         = "shared_preload_libraries"
    value        = "pg_stat_statements"
    apply_method = "pending-reboot"
  }

  parameter {
    name  = "log_min_duration_statement"
    value = "1000"
  }
}

resource "aws_kms_key" "database" {
  description         = "PostgreSQL of Tidegauge's booking app in ${var.region}, and its backups."
  enable_key_rotation = true
}

resource "aws_db_instance" "primary" {
  count = var.database.primary ? 1 : 0

  identifier              = "tidegauge-primary"
  engine                  = "postgres"
  engine_version          = "18"
  instance_class          = var.database.primary_class
  multi_az                = true
  db_name                 = "booking"
  username                = var.database.login
  password                = var.database_password
  port                    = 5432
  allocated_storage       = var.database.allocated_storage
  storage_type            = "gp3"
  storage_encrypted       = true
  kms_key_id              = aws_kms_key.database.arn
  db_subnet_group_name    = aws_db_subnet_group.this.name
  parameter_group_name    = aws_db_parameter_group.this.name
  vpc_security_group_ids  = [aws_security_group.database.id]
  backup_retention_period = var.database.backup_keep_days
  deletion_protection     = true
  skip_final_snapshot     = false

  final_snapshot_identifier = "tidegauge-primary-last"
}

resource "aws_db_instance" "replica" {
  identifier             = "tidegauge-replica"
  replicate_source_db    = var.database.primary ? aws_db_instance.primary[0].arn : var.database.source_arn
  instance_class         = var.database.replica_class
  port                   = 5432
  storage_type           = "gp3"
  storage_encrypted      = true
  kms_key_id             = aws_kms_key.database.arn
  db_subnet_group_name   = aws_db_subnet_group.this.name
  parameter_group_name   = aws_db_parameter_group.this.name
  vpc_security_group_ids = [aws_security_group.database.id]
  skip_final_snapshot    = true
}

data "aws_iam_policy_document" "assume_backup" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["backup.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "backup" {
  name               = "tidegauge-backup-${var.region}"
  assume_role_policy = data.aws_iam_policy_document.assume_backup.json
}

resource "aws_iam_role_policy_attachment" "backup" {
  role       = aws_iam_role.backup.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForBackup"
}

resource "aws_backup_vault" "here" {
  name        = "tidegauge-${var.region}"
  kms_key_arn = aws_kms_key.database.arn
}

resource "aws_kms_key" "copies" {
  count               = var.database.backup_region == null ? 0 : 1
  provider            = aws.backup
  description         = "Copies of the backups of Tidegauge's booking app in ${var.region}."
  enable_key_rotation = true
}

resource "aws_backup_vault" "copies" {
  count       = var.database.backup_region == null ? 0 : 1
  provider    = aws.backup
  name        = "tidegauge-copies-of-${var.region}"
  kms_key_arn = aws_kms_key.copies[0].arn
}

resource "aws_backup_plan" "this" {
  name = "tidegauge-${var.region}"

  rule {
    rule_name         = "nightly"
    target_vault_name = aws_backup_vault.here.name
    schedule          = "cron(0 3 * * ? *)"

    lifecycle {
      delete_after = var.database.backup_keep_days
    }

    dynamic "copy_action" {
      for_each = aws_backup_vault.copies
      content {
        destination_vault_arn = copy_action.value.arn
        lifecycle {
          delete_after = var.database.backup_keep_days
        }
      }
    }
  }
}

resource "aws_backup_selection" "this" {
  name         = "database"
  plan_id      = aws_backup_plan.this.id
  iam_role_arn = aws_iam_role.backup.arn
  resources    = [var.database.primary ? aws_db_instance.primary[0].arn : aws_db_instance.replica.arn]
}
