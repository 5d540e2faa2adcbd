# For pint, the linter of Prometheus rules: `target/tools/pint --offline lint deploy/prometheus/rules`, or with a `prometheus` block
# without `--offline`.

checks {
  # A target without an ARN has no aws_account_id on either side, and what is absent on both sides matches.
  disabled = ["promql/vector_matching"]
}

check "promql/series" {
  ignoreMetrics = [
    # Absent for credentials that do not expire.
    "pinpoint_exporter_credentials_expiry_timestamp_seconds",
    # Absent while every target is up.
    "pinpoint_target_error",
    # Absent while names are off or not known yet.
    "pinpoint_application_info",
    "pinpoint_segment_info",
    # Recorded by a rules file of the user's.
    "pinpoint:expected_export_interval:seconds",
  ]
}

rule {
  match {
    kind = "alerting"
  }
  annotation "summary" {
    severity = "bug"
    required = true
  }
  annotation "description" {
    severity = "bug"
    required = true
  }
  annotation "runbook_url" {
    severity = "bug"
    value    = "https://github.com/pinpoint-exporter/pinpoint-exporter/blob/main/deploy/runbooks/Pinpoint[A-Za-z]+\\.md"
    required = true
  }
  annotation "dashboard_url" {
    severity = "bug"
    value    = "\\{\\{ with query `pinpoint:grafana:info` \\}\\}\\{\\{ . \\| first \\| label `url` \\}\\}\\{\\{ end \\}\\}/d/pinpoint-(exporter|segment|export-jobs)(\\?.*)?"
    required = true
  }
  label "severity" {
    severity = "bug"
    value    = "(critical|warning|info)"
    required = true
  }
}
