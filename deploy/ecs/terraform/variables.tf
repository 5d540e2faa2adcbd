variable "name" {
  description = "The name of the service, its roles, its log group and its security group."
  type        = string
  default     = "pinpoint-exporter"
}

variable "watch" {
  description = "What to watch. The task role gets the policy of that name in deploy/iam."
  type        = string
  default     = "segments-of-an-application"

  validation {
    condition     = contains(["segment", "segments-of-an-application", "all-segments", "application", "all-applications"], var.watch)
    error_message = "watch must be segment, segments-of-an-application, all-segments, application or all-applications."
  }
}

variable "application_id" {
  description = "The id of the Pinpoint application. Leave it empty for all-segments and all-applications."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]*$", var.application_id))
    error_message = "application_id may contain only letters, digits, _ and -."
  }
}

variable "segment_id" {
  description = "The id of the segment, if watch is \"segment\"."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]*$", var.segment_id))
    error_message = "segment_id may contain only letters, digits, _ and -."
  }
}

variable "endpoint_url" {
  description = "The URL of an API that speaks Pinpoint's protocol. If empty, the exporter uses AWS's own API."
  type        = string
  default     = ""
}

variable "settings" {
  description = "Other settings of the exporter, by their names without PINPOINT_EXPORTER_, for example { CACHE_TTL = \"2m\" }."
  type        = map(string)
  default     = {}

  validation {
    condition     = !contains(keys(var.settings), "TARGETS")
    error_message = "The module sets TARGETS from watch, application_id and segment_id."
  }
}

variable "cluster" {
  description = "The name or the ARN of the ECS cluster."
  type        = string
  default     = "default"
}

variable "vpc_id" {
  description = "The VPC of the subnets."
  type        = string
}

variable "subnet_ids" {
  description = "Subnets with a route to Pinpoint, to CloudWatch Logs and to the registry of the image."
  type        = list(string)
}

variable "assign_public_ip" {
  description = "Set true in public subnets without a NAT gateway."
  type        = bool
  default     = false
}

variable "image" {
  description = "The image of the exporter."
  type        = string
  default     = "ghcr.io/pinpoint-exporter/pinpoint-exporter:0.1.0"
}

variable "cpu_architecture" {
  description = "ARM64 or X86_64."
  type        = string
  default     = "ARM64"

  validation {
    condition     = contains(["ARM64", "X86_64"], var.cpu_architecture)
    error_message = "cpu_architecture must be ARM64 or X86_64."
  }
}

variable "scraper_security_group_id" {
  description = "The security group of your Prometheus, which may then reach port 9787. If empty, the port stays closed."
  type        = string
  default     = ""
}

variable "dns_namespace_id" {
  description = "A private DNS namespace of AWS Cloud Map, in which the exporter gets a name. If empty, it gets no name."
  type        = string
  default     = ""
}

variable "managed_prometheus_workspace_id" {
  description = "A workspace of Amazon Managed Service for Prometheus. A collector beside the exporter writes to it. If empty, there is no collector."
  type        = string
  default     = ""
}

variable "tags" {
  description = "Tags of all resources."
  type        = map(string)
  default     = {}
}
