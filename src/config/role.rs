//! Parses `ROLE_ARNS` and `ROLE_EXTERNAL_ID`.

use std::collections::BTreeMap;

use super::value::Explanation;
use crate::model::{
    printable::PEM,
    target::{is_account_id, is_partition},
};

/// Returns the roles by account, and the invalid entries.
pub(super) fn role_arns(text: &str) -> (BTreeMap<&str, &str>, Vec<(&str, Explanation)>) {
    let mut roles = BTreeMap::new();
    let mut wrong = Vec::new();
    if text.contains(PEM) {
        // Without this check, the error would show the words of a private key one by one.
        return (
            roles,
            vec![(text, "this is not a list of role ARNs; write the ARNs, separated by commas".into())],
        );
    }
    for entry in text.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty()) {
        let Some(account_id) = account_of_role(entry) else {
            wrong.push((
                entry,
                "this is not the ARN of a role; write one such as arn:aws:iam::123456789012:role/monitoring"
                    .into(),
            ));
            continue;
        };
        let first = *roles.entry(account_id).or_insert(entry);
        if first != entry {
            wrong.push((
                entry,
                format!("account {account_id} has the role {first} already; keep one role per account"),
            ));
        }
    }
    if roles.is_empty() && wrong.is_empty() {
        wrong.push((text, "it names no role; write ARNs, or leave it unset".into()));
    }
    (roles, wrong)
}

fn account_of_role(arn: &str) -> Option<&str> {
    let parts: Vec<_> = arn.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account_id, resource] = parts[..] else {
        return None;
    };
    let name = resource.strip_prefix("role/")?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/_+=.@-".contains(c);
    (is_partition(partition)
        && is_account_id(account_id)
        && name.chars().all(allowed)
        && name.split('/').all(|part| !part.is_empty()))
    .then_some(account_id)
}

/// Checks an external id. The error does not quote it, because it may be secret.
pub(super) fn role_external_id(text: &str) -> Result<(), Explanation> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c);
    if (2..=1224).contains(&text.len()) && text.chars().all(allowed) {
        Ok(())
    } else {
        Err("this is not a valid external id (value not shown); write 2 to 1224 letters, digits and _+=,.@:/-".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_one_per_account() {
        let a = "arn:aws:iam::111111111111:role/a";
        let b = "arn:aws-us-gov:iam::222222222222:role/path/to/b@c.d";
        let text = format!("{a}, {b}\n{a}");
        let (roles, wrong) = role_arns(&text);
        assert_eq!(roles, BTreeMap::from([("111111111111", a), ("222222222222", b)]));
        assert_eq!(wrong, []);

        let text = format!("{a} arn:aws:iam::111111111111:role/other");
        let (_, wrong) = role_arns(&text);
        assert!(wrong[0].1.contains(a), "{wrong:?}");
        for text in [
            "arn:aws:iam::111111111111:user/a",
            "arn:aws:iam::11111111111:role/a",
            "arn:aws:iam:us-east-1:111111111111:role/a",
            "arn:aws:iam::111111111111:role/",
            "arn:aws:iam::111111111111:role//a",
            "arn:aws:sts::111111111111:role/a",
            "arn:amazon:iam::111111111111:role/a",
            "monitoring",
            ",",
        ] {
            assert_eq!(role_arns(text).1.len(), 1, "{text}");
        }
    }
}
