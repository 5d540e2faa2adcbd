# For pint, the linter of Prometheus rules: `pint --offline lint deploy/prometheus`.

parser {
  include = ["deploy/prometheus/rules/.*"]
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
    value    = "/d/pinpoint-(exporter|segment|export-jobs)(\\?.*)?"
    required = true
  }
  label "severity" {
    severity = "bug"
    value    = "(critical|warning|info)"
    required = true
  }
}
