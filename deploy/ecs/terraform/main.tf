data "aws_partition" "current" {}

data "aws_region" "current" {}

data "aws_caller_identity" "current" {}

locals {
  aws = {
    partition  = data.aws_partition.current.partition
    dns_suffix = data.aws_partition.current.dns_suffix
    region     = data.aws_region.current.id
    account    = data.aws_caller_identity.current.account_id
  }
}

resource "aws_cloudwatch_log_group" "this" {
  name              = var.name
  retention_in_days = 30
  tags              = var.tags
}

# ECS uses this role to start the task. It may only write the log, because the default image is in a public registry.
resource "aws_iam_role" "execution" {
  name_prefix        = "${var.name}-execution-"
  assume_role_policy = local.documents.trust
  tags               = var.tags
}

resource "aws_iam_role_policy" "write_log" {
  name = "write-log"
  role = aws_iam_role.execution.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "WriteLog"
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      Resource = "${aws_cloudwatch_log_group.this.arn}:*"
    }]
  })
}

# The exporter uses this role. It has the policy of deploy/iam for the targets.
resource "aws_iam_role" "task" {
  name_prefix        = "${var.name}-task-"
  assume_role_policy = local.documents.trust
  tags               = var.tags
}

resource "aws_iam_role_policy" "read" {
  name   = var.watch
  role   = aws_iam_role.task.id
  policy = local.documents.read
}

resource "aws_iam_role_policy" "write_metrics" {
  count  = var.managed_prometheus_workspace_id == "" ? 0 : 1
  name   = "write-metrics"
  role   = aws_iam_role.task.id
  policy = jsonencode(local.write_metrics)
}

resource "aws_security_group" "this" {
  name_prefix = "${var.name}-"
  description = "pinpoint-exporter"
  vpc_id      = var.vpc_id
  tags        = var.tags

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.this.id
  description       = "AWS APIs and the registry of the image"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_ingress_rule" "prometheus" {
  count                        = var.scraper_security_group_id == "" ? 0 : 1
  security_group_id            = aws_security_group.this.id
  description                  = "Prometheus"
  ip_protocol                  = "tcp"
  from_port                    = 9787
  to_port                      = 9787
  referenced_security_group_id = var.scraper_security_group_id
}

resource "aws_ecs_task_definition" "this" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn
  container_definitions    = jsonencode(local.container_definitions)
  tags                     = var.tags

  runtime_platform {
    cpu_architecture        = var.cpu_architecture
    operating_system_family = "LINUX"
  }

  lifecycle {
    precondition {
      condition     = !local.of_an_application || var.application_id != ""
      error_message = "watch = \"${var.watch}\" needs an application_id."
    }
    precondition {
      condition     = var.watch != "segment" || var.segment_id != ""
      error_message = "watch = \"segment\" needs a segment_id."
    }
  }
}

resource "aws_service_discovery_service" "this" {
  count = var.dns_namespace_id == "" ? 0 : 1
  name  = var.name
  tags  = var.tags

  dns_config {
    namespace_id = var.dns_namespace_id

    dns_records {
      type = "A"
      ttl  = 60
    }
  }
}

resource "aws_ecs_service" "this" {
  name            = var.name
  cluster         = var.cluster
  task_definition = aws_ecs_task_definition.this.arn
  launch_type     = "FARGATE"
  desired_count   = 1
  # ECS stops the old task before it starts the new one, so that no job is scraped twice.
  deployment_minimum_healthy_percent = 0
  deployment_maximum_percent         = 100
  enable_ecs_managed_tags            = true
  propagate_tags                     = "SERVICE"
  tags                               = var.tags

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [aws_security_group.this.id]
    assign_public_ip = var.assign_public_ip
  }

  dynamic "service_registries" {
    for_each = aws_service_discovery_service.this
    content {
      registry_arn = service_registries.value.arn
    }
  }

  # Otherwise ECS could start the task before its roles have their permissions.
  depends_on = [aws_iam_role_policy.write_log, aws_iam_role_policy.read]
}
