//! Statements of IAM policies: the permissions that the credentials need for the targets. No I/O.
//!
//! Two AWS documents disagree on the resource of a call. The [service authorization reference] names the application or the
//! segment, and `apps/*` for the list of applications. The [developer guide] names the path. The statements contain both.
//!
//! [service authorization reference]: https://docs.aws.amazon.com/service-authorization/latest/reference/list_pinpoint.html
//! [developer guide]: https://docs.aws.amazon.com/pinpoint/latest/developerguide/permissions-actions.html

use serde::Serialize;

use crate::{
    model::target::{IdPattern, TargetPattern},
    pinpoint::{Operation, partition_name},
};

/// A policy, ready to paste.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Policy {
    version: &'static str,
    statement: Vec<Statement>,
}

/// A statement that allows one action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Statement {
    sid: &'static str,
    effect: &'static str,
    action: String,
    resource: Vec<String>,
}

impl Policy {
    /// Makes a policy of statements, and merges those with the same action. Returns `None` if there are none.
    pub(super) fn of(statements: impl IntoIterator<Item = Statement>) -> Option<Self> {
        let mut merged: Vec<Statement> = Vec::new();
        for statement in statements {
            let Some(known) = merged.iter_mut().find(|known| known.action == statement.action) else {
                merged.push(statement);
                continue;
            };
            for resource in statement.resource {
                if !known.resource.contains(&resource) {
                    known.resource.push(resource);
                }
            }
        }
        (!merged.is_empty()).then_some(Self { version: "2012-10-17", statement: merged })
    }
}

impl Statement {
    /// The statement that an operation needs for all resources of a pattern. `account_id` is `*` if it is not known.
    pub(super) fn reading(operation: Operation, pattern: &TargetPattern, account_id: &str) -> Self {
        let application = escaped(&pattern.application);
        let application = format!("apps/{application}");
        let any_application = pattern.application == IdPattern::Any;
        let (sid, resources) = match (operation, &pattern.segment) {
            (Operation::GetApps, _) => ("ListApplications", vec!["apps".to_owned(), "apps/*".to_owned()]),
            (Operation::GetSegments, _) => ("ListSegments", vec![application]),
            (Operation::GetExportJobs, _) if any_application => ("ReadExportJobs", vec![application]),
            (Operation::GetExportJobs, _) => {
                let path = format!("{application}/jobs/export");
                ("ReadExportJobs", vec![application, path])
            }
            (Operation::GetSegmentExportJobs, _) if any_application => {
                ("ReadSegmentExportJobs", vec![application])
            }
            (Operation::GetSegmentExportJobs, Some(id @ IdPattern::Id(_))) => {
                let segment = format!("{application}/segments/{}", escaped(id));
                let path = format!("{segment}/jobs/export");
                ("ReadSegmentExportJobs", vec![application, segment, path])
            }
            (Operation::GetSegmentExportJobs, _) => {
                let segments = format!("{application}/segments/*");
                ("ReadSegmentExportJobs", vec![application, segments])
            }
        };
        let (partition, region) = (partition_name(&pattern.region), &pattern.region);
        let arn = |resource| format!("arn:{partition}:mobiletargeting:{region}:{account_id}:{resource}");
        Self::allow(
            sid,
            format!("mobiletargeting:{}", operation.name()),
            resources.into_iter().map(arn).collect(),
        )
    }

    /// The statement that assuming a role needs.
    pub(super) fn assuming(role_arn: &str) -> Self {
        Self::allow("AssumeRoles", "sts:AssumeRole".to_owned(), vec![role_arn.to_owned()])
    }

    fn allow(sid: &'static str, action: String, resource: Vec<String>) -> Self {
        Self { sid, effect: "Allow", action, resource }
    }
}

/// An id in a policy's resource. Special characters are written as a [policy variable], so that they stand for themselves.
///
/// [policy variable]: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
fn escaped(id: &IdPattern) -> String {
    match id {
        IdPattern::Any => "*".to_owned(),
        IdPattern::Id(id) => {
            let special = |c: char| matches!(c, '*' | '?' | '$');
            id.chars().map(|c| if special(c) { format!("${{{c}}}") } else { c.to_string() }).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::target;

    fn resources(operation: Operation, target: &str) -> Vec<String> {
        let patterns = target::parse(target, Some("eu-west-1")).patterns;
        Statement::reading(operation, patterns.keys().next().unwrap(), "1").resource
    }

    #[test]
    fn each_form_of_target_names_its_resources() {
        use Operation::{GetApps, GetExportJobs, GetSegmentExportJobs, GetSegments};
        for (operation, target, expected) in [
            (GetApps, "*/*", &["apps", "apps/*"][..]),
            (GetSegments, "*/*", &["apps/*"]),
            (GetSegments, "a/*", &["apps/a"]),
            (GetSegmentExportJobs, "*/*", &["apps/*"]),
            (GetSegmentExportJobs, "a/*", &["apps/a", "apps/a/segments/*"]),
            (GetSegmentExportJobs, "a/s", &["apps/a", "apps/a/segments/s", "apps/a/segments/s/jobs/export"]),
            (GetExportJobs, "a", &["apps/a", "apps/a/jobs/export"]),
            (GetExportJobs, "*", &["apps/*"]),
            (GetExportJobs, "a%2A%24", &["apps/a${*}${$}", "apps/a${*}${$}/jobs/export"]),
        ] {
            let expected: Vec<_> =
                expected.iter().map(|it| format!("arn:aws:mobiletargeting:eu-west-1:1:{it}")).collect();
            assert_eq!(resources(operation, target), expected, "{} {target}", operation.name());
        }
    }

    #[test]
    fn statements_of_one_action_become_one() {
        let pattern = |text| target::parse(text, Some("cn-north-1")).patterns.into_keys().next().unwrap();
        let reading = |text| Statement::reading(Operation::GetSegments, &pattern(text), "*");
        let policy = Policy::of([reading("a/*"), reading("b/*"), reading("a/*")]).unwrap();
        let expected = r#"{"Version":"2012-10-17","Statement":[{"Sid":"ListSegments","Effect":"Allow","Action":"mobiletargeting:GetSegments","Resource":["arn:aws-cn:mobiletargeting:cn-north-1:*:apps/a","arn:aws-cn:mobiletargeting:cn-north-1:*:apps/b"]}]}"#;
        assert_eq!(serde_json::to_string(&policy).unwrap(), expected);
        assert_eq!(Policy::of([]), None);
    }
}
