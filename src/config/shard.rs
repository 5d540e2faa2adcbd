//! Parses `SHARD`.

use super::value::Explanation;
use crate::model::shard::Shard;

/// The maximum number of shards. A larger number is a mistake, and the time to find a target's shard grows with the number.
pub(crate) const MAX_SHARDS: u32 = 1000;

/// Parses `2/5` or `auto/5`. With `auto`, the ordinal is the number at the end of `host_name`.
pub(super) fn shard(text: &str, host_name: Option<&str>) -> Result<Shard, Explanation> {
    const CURE: &str = "write a shard such as 2/5, or auto/5 if HOSTNAME ends in the ordinal";
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u32>().ok()).flatten()
    };
    let (ordinal, count) =
        text.split_once('/').ok_or_else(|| format!("this is not a valid shard; {CURE}"))?;
    let count = match number(count.trim()) {
        Some(count) if count > MAX_SHARDS => {
            return Err(format!("{count} shards are too many; write at most {MAX_SHARDS}, as in 2/5"));
        }
        Some(0) | None => return Err(format!("{count:?} is not a valid number of shards; {CURE}")),
        Some(count) => count,
    };
    let ordinal = match ordinal.trim() {
        "auto" => {
            let host_name = host_name.unwrap_or_default();
            host_name.rsplit_once('-').and_then(|(_, end)| number(end)).ok_or_else(|| {
                format!("HOSTNAME={host_name:?} does not end in an ordinal such as -2; write it out, as in 2/{count}")
            })?
        }
        text => number(text).ok_or_else(|| format!("{text:?} is not a valid ordinal; {CURE}"))?,
    };
    if ordinal >= count {
        return Err(format!(
            "the ordinal {ordinal} is not below the count {count}: ordinals begin with 0; write one from 0 to {}",
            count - 1
        ));
    }
    Ok(Shard { ordinal, count })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_an_ordinal_below_a_count() {
        assert_eq!(shard("2/5", None), Ok(Shard { ordinal: 2, count: 5 }));
        assert_eq!(shard("999/1000", None), Ok(Shard { ordinal: 999, count: 1000 }));
        assert_eq!(shard("0/1", None), Ok(Shard { ordinal: 0, count: 1 }));
        assert_eq!(shard("auto/5", Some("pinpoint-exporter-4")), Ok(Shard { ordinal: 4, count: 5 }));
        for (text, host_name, cure) in [
            ("5/5", None, "from 0 to 4"),
            ("2", None, "not a valid shard"),
            ("2/0", None, "not a valid number of shards"),
            ("2/x", None, "not a valid number of shards"),
            ("-1/5", None, "not a valid ordinal"),
            ("+1/5", None, "not a valid ordinal"),
            ("/5", None, "not a valid ordinal"),
            ("0/1001", None, "at most 1000"),
            ("0/4294967295", None, "at most 1000"),
            ("auto/5", None, "HOSTNAME=\"\""),
            ("auto/5", Some("exporter"), "HOSTNAME=\"exporter\""),
            ("auto/5", Some("exporter-7"), "from 0 to 4"),
        ] {
            let explanation = shard(text, host_name).unwrap_err();
            assert!(explanation.contains(cure), "{text}: {explanation}");
        }
    }
}
