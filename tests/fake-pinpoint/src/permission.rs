//! Evaluates IAM's identity-based policies as far as this API needs them, by AWS's [evaluation logic]: an explicit deny
//! overrides an allow, and without an allow the request is denied. Conditions are not evaluated, so policies with conditions
//! are refused.
//!
//! [evaluation logic]: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};
use serde_json::Value;

use crate::{
    error::AwsError,
    operation::{Operation, Route},
};

/// A policy, in [IAM's JSON](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Policy {
    version: Version,
    #[serde(default, rename = "Id")]
    _id: Option<String>,
    #[serde(deserialize_with = "one_or_more")]
    statement: Vec<Statement>,
}

/// Only this version has policy variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Version {
    #[serde(rename = "2012-10-17")]
    Current,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Statement {
    #[serde(default, rename = "Sid")]
    _sid: Option<String>,
    effect: Effect,
    #[serde(deserialize_with = "one_or_more")]
    action: Vec<String>,
    #[serde(deserialize_with = "one_or_more")]
    resource: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

fn one_or_more<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
    let read = match Value::deserialize(from)? {
        Value::Array(more) => more.into_iter().map(serde_json::from_value).collect(),
        one => serde_json::from_value(one).map(|one| vec![one]),
    };
    read.map_err(D::Error::custom)
}

/// Checks that the policies allow the operation on all of its resources.
pub(crate) fn authorize(
    policies: &[Policy],
    account_id: &str,
    region: &str,
    operation: Operation,
    route: &Route,
) -> Result<(), AwsError> {
    let action = format!("mobiletargeting:{operation:?}");
    for resource in resources(operation, route) {
        let resource = format!("arn:{}:mobiletargeting:{region}:{account_id}:{resource}", partition(region));
        let says = |effect| {
            let statements = policies.iter().flat_map(|policy| &policy.statement);
            statements.filter(|it| it.effect == effect).any(|it| it.is_about(&action, &resource))
        };
        let because = if says(Effect::Deny) {
            "with an explicit deny in an identity-based policy".to_owned()
        } else if says(Effect::Allow) {
            continue;
        } else {
            format!("because no identity-based policy allows the {action} action")
        };
        return Err(AwsError::new(
            "AccessDeniedException",
            format!(
                "User: arn:{}:iam::{account_id}:user/exporter is not authorized to perform: {action} on resource: \
                 {resource} {because}",
                partition(region)
            ),
        ));
    }
    Ok(())
}

/// The resources of a call. AWS's documents differ: the [developer guide], the current [service authorization reference] and
/// its older versions each name other resources. A policy that satisfies all of them must name every one.
///
/// [developer guide]: https://docs.aws.amazon.com/pinpoint/latest/developerguide/permissions-actions.html
/// [service authorization reference]: https://docs.aws.amazon.com/service-authorization/latest/reference/list_pinpoint.html
fn resources(operation: Operation, route: &Route) -> Vec<String> {
    let application = format!("apps/{}", route.application.as_deref().unwrap_or_default());
    let segment = format!("{application}/segments/{}", route.segment.as_deref().unwrap_or_default());
    let jobs = format!("{application}/jobs/export");
    match operation {
        Operation::GetApps => vec!["apps".to_owned(), "apps/*".to_owned()],
        Operation::GetApp | Operation::GetSegments | Operation::CreateExportJob => vec![application],
        Operation::GetSegment => vec![application, segment],
        Operation::GetSegmentExportJobs => {
            let jobs = format!("{segment}/jobs/export");
            vec![application, segment, jobs]
        }
        Operation::GetExportJobs => vec![application, jobs],
        Operation::GetExportJob => {
            vec![application, format!("{jobs}/{}", route.job.as_deref().unwrap_or_default())]
        }
    }
}

/// The partition of a region, from the prefix of its name.
fn partition(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

impl Statement {
    fn is_about(&self, action: &str, resource: &str) -> bool {
        let action = action.to_ascii_lowercase();
        let names_it = |pattern: &String| matches(&wildcards(&pattern.to_ascii_lowercase()), &action);
        self.action.iter().any(names_it)
            && self.resource.iter().any(|pattern| matches(&wildcards(pattern), resource))
    }
}

/// A part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wildcard {
    /// `*`: any number of characters, or none.
    Any,
    /// `?`: one character.
    One,
    This(char),
}

/// Parses a pattern. `${*}`, `${?}` and `${$}` stand for the characters themselves.
fn wildcards(pattern: &str) -> Vec<Wildcard> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let escaped = ['*', '?', '$'].into_iter().find(|c| rest.starts_with(&format!("${{{c}}}")));
        let (part, length) = match (escaped, c) {
            (Some(escaped), _) => (Wildcard::This(escaped), 4),
            (None, '*') => (Wildcard::Any, 1),
            (None, '?') => (Wildcard::One, 1),
            (None, c) => (Wildcard::This(c), c.len_utf8()),
        };
        parts.push(part);
        rest = &rest[length..];
    }
    parts
}

/// Whether the pattern matches the whole text. For each character, it tracks which prefixes of the pattern match.
fn matches(pattern: &[Wildcard], text: &str) -> bool {
    let mut reached = vec![false; pattern.len() + 1];
    reached[0] = true;
    let skip_any = |reached: &mut Vec<bool>| {
        for (at, part) in pattern.iter().enumerate() {
            reached[at + 1] |= reached[at] && *part == Wildcard::Any;
        }
    };
    skip_any(&mut reached);
    for c in text.chars() {
        let mut next = vec![false; pattern.len() + 1];
        for (at, part) in pattern.iter().enumerate().filter(|(at, _)| reached[*at]) {
            match part {
                Wildcard::Any => next[at] = true,
                Wildcard::One => next[at + 1] = true,
                Wildcard::This(this) => next[at + 1] |= *this == c,
            }
        }
        skip_any(&mut next);
        reached = next;
    }
    reached[pattern.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_iam_does() {
        for (pattern, text, expected) in [
            ("apps", "apps", true),
            ("apps", "apps/a", false),
            ("apps/*", "apps", false),
            ("apps/*", "apps/", true),
            ("apps/*", "apps/a/segments/b", true),
            ("apps/?", "apps/a", true),
            ("apps/?", "apps/", false),
            ("apps/?", "apps/ab", false),
            ("*", "", true),
            ("**b", "aab", true),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1b2b3d", false),
            ("apps/${*}", "apps/*", true),
            ("apps/${*}", "apps/a", false),
            ("${?}${$}{*}", "?${*}", true),
            ("é?", "éé", true),
        ] {
            assert_eq!(matches(&wildcards(pattern), text), expected, "{pattern} {text}");
        }
    }
}
