//! Works out which lists and targets to poll from the patterns and the lists read so far. Does no I/O.

use std::{collections::BTreeSet, sync::Arc};

use crate::model::{
    list_id::ListId,
    names::NamedResource,
    shard::Shard,
    target::{IdPattern, Target, TargetPattern},
};

#[derive(Debug, PartialEq, Eq)]
pub struct Selection {
    /// The lists to read.
    pub list_ids: BTreeSet<ListId>,
    pub targets: BTreeSet<Target>,
}

/// Works out what to poll: the targets of this shard, and every list, since each shard finds all targets itself. `known`
/// returns the content of a list. A list that was not read yet counts as empty.
pub fn select(
    patterns: &[TargetPattern],
    shard: Shard,
    known: impl Fn(&ListId) -> Option<Arc<[NamedResource]>>,
) -> Selection {
    let (mut list_ids, mut targets) = (BTreeSet::new(), Vec::new());
    for pattern in patterns {
        let mut list = |application_id: Option<&str>| {
            let application_id = application_id.map(str::to_owned);
            let list_id = ListId { application_id, ..ListId::applications_of(pattern) };
            let ids = known(&list_id).unwrap_or_default();
            list_ids.insert(list_id);
            ids.iter().map(|resource| resource.id.clone()).collect::<Vec<_>>()
        };
        let applications = match &pattern.application {
            IdPattern::Id(id) => vec![id.clone()],
            IdPattern::Any => list(None),
        };
        for application_id in &applications {
            let segments: Vec<Option<String>> = match &pattern.segment {
                None => vec![None],
                Some(IdPattern::Id(id)) => vec![Some(id.clone())],
                Some(IdPattern::Any) => list(Some(application_id)).into_iter().map(Some).collect(),
            };
            let found = segments.into_iter().map(|segment_id| Target {
                account_id: pattern.account_id.clone(),
                region: pattern.region.clone(),
                application_id: application_id.clone(),
                segment_id,
            });
            targets.extend(found.filter(|target| shard.holds(target)));
        }
    }
    // Lists are sorted already, so sorting all targets at once takes fewer comparisons than inserting them one by one.
    Selection { list_ids, targets: targets.into_iter().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::target;

    fn resolve(text: &str, known: &[(Option<&str>, &[&str])]) -> (Vec<String>, Vec<String>) {
        let patterns: Vec<_> = target::parse(text, Some("eu-west-1")).patterns.into_keys().collect();
        let selection = select(&patterns, Shard::WHOLE, |list_id| {
            let (_, ids) = known.iter().find(|(id, _)| *id == list_id.application_id.as_deref())?;
            Some(ids.iter().map(|id| NamedResource::unnamed(*id)).collect())
        });
        let list_ids = selection
            .list_ids
            .into_iter()
            .map(|list_id| list_id.application_id.unwrap_or_default())
            .collect();
        (list_ids, selection.targets.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn each_form_wants_its_lists_and_targets() {
        let known: &[(Option<&str>, &[&str])] =
            &[(None, &["a", "b"]), (Some("a"), &["1", "2"]), (Some("b"), &[])];
        for (text, list_ids, targets) in [
            ("a/1", &[][..], &["a/1"][..]),
            ("a", &[], &["a"]),
            ("a/*", &["a"], &["a/1", "a/2"]),
            ("*/*", &["", "a", "b"], &["a/1", "a/2"]),
            ("*", &[""], &["a", "b"]),
            ("a/* a/1 a/9", &["a"], &["a/1", "a/2", "a/9"]),
        ] {
            let (found_lists, found_targets) = resolve(text, known);
            assert_eq!(found_lists, list_ids, "{text}");
            assert_eq!(found_targets, targets, "{text}");
        }
    }

    #[test]
    fn what_was_not_listed_yet_has_no_targets() {
        assert_eq!(resolve("*/* ", &[]), (vec![String::new()], vec![]));
        assert_eq!(resolve("*/*", &[(None, &["a"])]), (vec![String::new(), "a".to_owned()], vec![]));
    }
}
