# Values that the module derives from its variables. `local.aws` (main.tf) has the partition, region and account.

locals {
  targets = {
    segment                    = "${var.application_id}/${var.segment_id}"
    segments-of-an-application = "${var.application_id}/*"
    all-segments               = "*/*"
    application                = var.application_id
    all-applications           = "*"
  }
  of_an_application = contains(["segment", "segments-of-an-application", "application"], var.watch)

  # The files of deploy/iam with the values of this module.
  documents = {
    for name, file in { read = "${var.watch}.json", trust = "trust/ecs.json" } : name => replace(replace(replace(replace(replace(
      file("${path.module}/../../iam/${file}"),
      "arn:aws:", "arn:${local.aws.partition}:"),
      "REGION", local.aws.region),
      "ACCOUNT", local.aws.account),
      "segments/SEGMENT", "segments/${var.segment_id}"),
    "apps/APP", "apps/${var.application_id}")
  }
  write_metrics = {
    Version = "2012-10-17"
    Statement = [{
      Sid      = "WriteMetrics"
      Effect   = "Allow"
      Action   = "aps:RemoteWrite"
      Resource = "arn:${local.aws.partition}:aps:${local.aws.region}:${local.aws.account}:workspace/${var.managed_prometheus_workspace_id}"
    }]
  }

  log_configuration = {
    logDriver = "awslogs"
    options = {
      awslogs-group         = var.name
      awslogs-region        = local.aws.region
      awslogs-stream-prefix = "ecs"
    }
  }

  exporter = {
    name                   = "pinpoint-exporter"
    image                  = var.image
    essential              = true
    user                   = "65532:65532"
    readonlyRootFilesystem = true
    linuxParameters        = { capabilities = { drop = ["ALL"] } }
    portMappings           = [{ containerPort = 9787, protocol = "tcp" }]
    environment = concat(
      [
        { name = "PINPOINT_EXPORTER_TARGETS", value = local.targets[var.watch] },
        { name = "AWS_REGION", value = local.aws.region },
        { name = "AWS_ENDPOINT_URL_PINPOINT", value = var.endpoint_url },
      ],
      [for name, value in var.settings : { name = "PINPOINT_EXPORTER_${name}", value = value }],
    )
    # ECS does not read the health check of the image.
    healthCheck = {
      command     = ["CMD", "/pinpoint-exporter", "healthcheck"]
      interval    = 30
      timeout     = 10
      retries     = 3
      startPeriod = 10
    }
    # The exporter finishes open requests within 10 s.
    stopTimeout      = 15
    logConfiguration = local.log_configuration
  }

  collector = {
    name = "collector"
    # AWS Distro for OpenTelemetry, v0.48.0.
    image = "public.ecr.aws/aws-observability/aws-otel-collector:v0.48.0@sha256:9b28046359054b414f4ba76056ba4e8cffda2d53fbcee06171d7eeecd71326c3"
    # If the collector stops, the exporter still serves other Prometheus servers, and ECS restarts the collector.
    essential     = false
    restartPolicy = { enabled = true }
    command       = ["--config=env:COLLECTOR_CONFIG"]
    environment = [{
      name = "COLLECTOR_CONFIG"
      value = templatefile("${path.module}/collector.yaml", {
        region    = local.aws.region
        suffix    = local.aws.dns_suffix
        workspace = var.managed_prometheus_workspace_id
      })
    }]
    dependsOn        = [{ containerName = "pinpoint-exporter", condition = "HEALTHY" }]
    logConfiguration = local.log_configuration
  }

  container_definitions = concat(
    [local.exporter],
    [for collector in [local.collector] : collector if var.managed_prometheus_workspace_id != ""],
  )
}
