//! `ROLE_ARNS`, `ROLE_EXTERNAL_ID` and `SHARD`: checked now, so that a text that is accepted once stays right when their
//! features come.

use std::collections::BTreeMap;

use super::value::Explanation;
use crate::target::{is_account_id, is_partition};

/// The roles by account, and the entries that are wrong.
pub(super) fn role_arns(text: &str) -> (BTreeMap<&str, &str>, Vec<(&str, Explanation)>) {
    let mut roles = BTreeMap::new();
    let mut wrong = Vec::new();
    for entry in text.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty()) {
        let Some(account_id) = account_of_role(entry) else {
            wrong.push((
                entry,
                "this is no role; write its ARN, such as arn:aws:iam::123456789012:role/monitoring".into(),
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

/// An external id, whose text is no-one's business.
pub(super) fn role_external_id(text: &str) -> Result<(), Explanation> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c);
    if (2..=1224).contains(&text.len()) && text.chars().all(allowed) {
        Ok(())
    } else {
        Err("this is no external id (value not shown); write 2 to 1224 letters, digits and _+=,.@:/-".into())
    }
}

/// `2/5` or `auto/5`, the ordinal then being the end of `host_name`.
pub(super) fn shard(text: &str, host_name: Option<&str>) -> Result<(u32, u32), Explanation> {
    const CURE: &str = "write such as 2/5, or auto/5 where HOSTNAME ends in the ordinal";
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u32>().ok()).flatten()
    };
    let (ordinal, count) = text.split_once('/').ok_or_else(|| format!("this is no shard; {CURE}"))?;
    let count = match number(count.trim()) {
        Some(0) | None => return Err(format!("{count:?} is no number of shards; {CURE}")),
        Some(count) => count,
    };
    let ordinal = match ordinal.trim() {
        "auto" => {
            let host_name = host_name.unwrap_or_default();
            host_name.rsplit_once('-').and_then(|(_, end)| number(end)).ok_or_else(|| {
                format!("HOSTNAME={host_name:?} does not end in an ordinal such as -2; write it out, as in 2/{count}")
            })?
        }
        text => number(text).ok_or_else(|| format!("{text:?} is no ordinal; {CURE}"))?,
    };
    if ordinal >= count {
        return Err(format!(
            "the ordinal {ordinal} is not below the count {count}: ordinals begin with 0; write one from 0 to {}",
            count - 1
        ));
    }
    Ok((ordinal, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_an_ordinal_below_a_count() {
        assert_eq!(shard("2/5", None), Ok((2, 5)));
        assert_eq!(shard("0/1", None), Ok((0, 1)));
        assert_eq!(shard("auto/5", Some("pinpoint-exporter-4")), Ok((4, 5)));
        for (text, host_name, cure) in [
            ("5/5", None, "from 0 to 4"),
            ("2", None, "no shard"),
            ("2/0", None, "no number of shards"),
            ("2/x", None, "no number of shards"),
            ("-1/5", None, "no ordinal"),
            ("+1/5", None, "no ordinal"),
            ("/5", None, "no ordinal"),
            ("auto/5", None, "HOSTNAME=\"\""),
            ("auto/5", Some("exporter"), "HOSTNAME=\"exporter\""),
            ("auto/5", Some("exporter-7"), "from 0 to 4"),
        ] {
            let explanation = shard(text, host_name).unwrap_err();
            assert!(explanation.contains(cure), "{text}: {explanation}");
        }
    }

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
