output "task_role_arn" {
  description = "The role that the exporter uses. Name it in trust policies of roles in other accounts."
  value       = aws_iam_role.task.arn
}

output "log_group_name" {
  description = "The log group of the exporter and the collector."
  value       = aws_cloudwatch_log_group.this.name
}

output "security_group_id" {
  description = "The security group of the task."
  value       = aws_security_group.this.id
}
