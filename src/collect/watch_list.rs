//! The lists and targets that the patterns and the lists read so far name. A new list updates only what it names, so finding
//! all targets takes time in proportion to their number.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use super::{
    cached_listing::{CachedListing, Purpose},
    discovery,
    refresh_schedule::{Completion, is_under_way},
    region_client::RegionClient,
    shown_names::{ShownNames, WatchedApplication},
    target_entry::TargetEntry,
};
use crate::{
    model::{
        list_id::ListId,
        names::NameSource,
        overview::KnownNames,
        shard::Shard,
        target::{IdPattern, Target, TargetPattern},
    },
    pinpoint::Clients,
};

type RegionKey = (String, String);

pub(super) struct WatchList {
    shard: Shard,
    names: NameSource,
    regions: BTreeMap<RegionKey, RegionState>,
    /// Running refreshes of removed targets. The same target is not refreshed again before its old refresh ends.
    removed_in_progress: BTreeMap<Target, Completion>,
    /// The lists and targets in order, built on demand. `None` after a change.
    watched: Option<Arc<WatchedTargets>>,
}

/// The lists and targets that are watched now, in order.
#[derive(Default)]
pub(super) struct WatchedTargets {
    pub(super) region_clients: Vec<Arc<RegionClient>>,
    pub(super) listings: Vec<Arc<CachedListing>>,
    /// Lists that are read only for their names.
    pub(super) name_lists: Vec<Arc<CachedListing>>,
    /// Applications whose names can be shown. Empty with `NAMES=off`.
    pub(super) applications: Vec<WatchedApplication>,
    pub(super) entries: Vec<Arc<TargetEntry>>,
    /// No entry is due before this time, in nanoseconds of the monotonic clock.
    pub(super) none_due_before: AtomicU64,
}

/// What an update added, kept and removed.
#[derive(Default)]
pub(super) struct Change {
    pub(super) new_lists: Vec<Arc<CachedListing>>,
    pub(super) new_targets: Vec<Arc<TargetEntry>>,
    /// How many of the checked targets stay watched.
    pub(super) kept: usize,
    /// How many targets were removed.
    pub(super) gone: usize,
}

struct RegionState {
    region_client: Arc<RegionClient>,
    /// The patterns by application. Patterns for all applications are under `None`.
    patterns: BTreeMap<Option<String>, Vec<TargetPattern>>,
    /// The list of applications, if a pattern needs it. `listed` holds the ids of its last good reading.
    list: Option<Arc<CachedListing>>,
    listed: BTreeSet<String>,
    /// A list of applications that is read only for names, if no pattern needs the list.
    name_list: Option<Arc<CachedListing>>,
    applications: BTreeMap<String, ApplicationState>,
}

/// An application with a watched list or target.
#[derive(Default)]
struct ApplicationState {
    is_listed: bool,
    /// The list of its segments, if a pattern needs it.
    list: Option<Arc<CachedListing>>,
    /// A list of its segments that is read only for names, if no pattern needs the list.
    name_list: Option<Arc<CachedListing>>,
    names: Arc<ShownNames>,
    /// Sorted by target.
    entries: Vec<Arc<TargetEntry>>,
}

impl WatchedTargets {
    /// The names of each application and its segments, by account, region and application.
    pub(super) fn known_names(&self) -> BTreeMap<[&str; 3], KnownNames> {
        let names = self.applications.iter().map(|application| {
            let (account_id, region) = application.region_client.account_and_region();
            ([account_id, region, &application.id], application.known())
        });
        names.collect()
    }
}

impl WatchList {
    pub(super) fn new(shard: Shard, names: NameSource) -> Self {
        Self { shard, names, regions: BTreeMap::new(), removed_in_progress: BTreeMap::new(), watched: None }
    }

    pub(super) fn watched(&mut self) -> Arc<WatchedTargets> {
        let Self { shard, names, regions, .. } = &*self;
        let build = || {
            let mut watched = WatchedTargets::default();
            for region in regions.values() {
                watched.region_clients.push(Arc::clone(&region.region_client));
                watched.listings.extend(region.list.clone());
                watched.name_lists.extend(region.name_list.clone());
                for (id, application) in &region.applications {
                    watched.listings.extend(application.list.clone());
                    watched.name_lists.extend(application.name_list.clone());
                    let begin = watched.entries.len();
                    watched.entries.extend(application.entries.iter().cloned());
                    // An application without targets in this shard is shown by the other shards.
                    if *names != NameSource::Off
                        && (!application.entries.is_empty() || *shard == Shard::WHOLE)
                    {
                        watched.applications.push(WatchedApplication {
                            id: id.clone(),
                            region_client: Arc::clone(&region.region_client),
                            entries: begin..watched.entries.len(),
                            applications: region.list.clone().or_else(|| region.name_list.clone()),
                            segments: application.list.clone().or_else(|| application.name_list.clone()),
                            names: Arc::clone(&application.names),
                        });
                    }
                }
            }
            Arc::new(watched)
        };
        let watched = match &self.watched {
            Some(watched) => Arc::clone(watched),
            None => build(),
        };
        self.watched = Some(Arc::clone(&watched));
        watched
    }

    /// Replaces the patterns. Targets and lists that were watched before keep their data.
    pub(super) fn set_targets(&mut self, patterns: Vec<TargetPattern>, clients: &Clients, now: Duration) {
        let mut before = mem::take(&mut self.regions);
        for (key, client) in clients {
            let kept = before.remove(key).filter(|region| Arc::ptr_eq(&region.region_client.client, client));
            let region = kept.unwrap_or_else(|| RegionState::new(key, Arc::clone(client)));
            self.regions.insert(key.clone(), region);
        }
        for region in self.regions.values_mut() {
            region.patterns.clear();
        }
        for pattern in patterns {
            let key = (pattern.account_id.clone(), pattern.region.clone());
            let application = match &pattern.application {
                IdPattern::Any => None,
                IdPattern::Id(id) => Some(id.clone()),
            };
            if let Some(region) = self.regions.get_mut(&key) {
                region.patterns.entry(application).or_default().push(pattern);
            }
        }
        let mut change = Change::default();
        for region in self.regions.values_mut() {
            region.update_application_list(now);
            let ids: BTreeSet<String> =
                region.applications.keys().cloned().chain(region.applications_named()).collect();
            for id in ids {
                region.update(&id, (self.shard, self.names), now, &mut self.removed_in_progress, &mut change);
            }
            region.name_list_of_applications(self.names, now);
        }
        for region in before.values_mut() {
            region.patterns.clear();
            for id in mem::take(&mut region.applications).into_values() {
                id.remove(&region.region_client, &mut self.removed_in_progress, &mut change);
            }
            region.list.iter().chain(&region.name_list).for_each(|list| list.remove());
        }
        self.changed();
    }

    /// Applies a list that was just read. Returns what it added.
    pub(super) fn learn(&mut self, list: &Arc<CachedListing>, now: Duration) -> Change {
        let ListId { account_id, region, application_id } = &list.list_id;
        let mut change = Change::default();
        let Some(region) = self.regions.get_mut(&(account_id.clone(), region.clone())) else { return change };
        if list.is_removed() {
            return change;
        }
        let ids = match application_id {
            Some(id) => vec![id.clone()],
            None => region.list_applications(list),
        };
        for id in ids {
            region.update(&id, (self.shard, self.names), now, &mut self.removed_in_progress, &mut change);
        }
        region.name_list_of_applications(self.names, now);
        self.changed();
        change
    }

    /// Records how many pages the listing of a target has. Returns whether the number has changed.
    #[expect(clippy::unused_self, reason = "the lock on it keeps the target from being removed meanwhile")]
    pub(super) fn learn_requests(&self, entry: &TargetEntry, requests: u32) -> bool {
        if entry.is_removed() || entry.requests() == requests {
            return false;
        }
        entry.region_client.learn_requests(entry.learn_requests(requests), requests);
        true
    }

    fn changed(&mut self) {
        self.removed_in_progress.retain(|_, completion| is_under_way(completion));
        self.watched = None;
    }
}

impl RegionState {
    fn new(key: &RegionKey, client: Arc<crate::pinpoint::Client>) -> Self {
        Self {
            region_client: Arc::new(RegionClient::new(key.clone(), client)),
            patterns: BTreeMap::new(),
            list: None,
            listed: BTreeSet::new(),
            name_list: None,
            applications: BTreeMap::new(),
        }
    }

    /// Creates or removes the list of applications, depending on whether a pattern needs it.
    fn update_application_list(&mut self, now: Duration) {
        if let Some(pattern) = self.patterns.get(&None).and_then(|patterns| patterns.first()) {
            let list_id = ListId::applications_of(pattern);
            let new =
                || CachedListing::new(list_id, Purpose::Discovery, Arc::clone(&self.region_client), now);
            self.list.get_or_insert_with(|| Arc::new(new()));
        } else {
            self.list.take().iter().for_each(|list| list.remove());
            self.listed.clear();
        }
    }

    /// Keeps a list of applications for their names. It is needed if names are read, something is watched and no pattern needs
    /// the list.
    fn name_list_of_applications(&mut self, names: NameSource, now: Duration) {
        let is_watched = || self.applications.values().any(|application| !application.entries.is_empty());
        let is_needed = names == NameSource::All && self.list.is_none() && is_watched();
        let kept = self.name_list.take();
        self.name_list = name_list(kept, is_needed, None, &self.region_client, now);
    }

    /// The applications that patterns name or that the list holds.
    fn applications_named(&self) -> impl Iterator<Item = String> {
        self.patterns.keys().flatten().cloned().chain(self.listed.iter().cloned())
    }

    /// Applies the list of applications. Returns the applications that were added or removed.
    fn list_applications(&mut self, list: &CachedListing) -> Vec<String> {
        let listed = list.resources().unwrap_or_default();
        self.listed = listed.iter().map(|resource| resource.id.clone()).collect();
        let gone = self.applications.iter().filter(|(id, it)| it.is_listed && !self.listed.contains(*id));
        let new = self.listed.iter().filter(|id| !self.applications.get(*id).is_some_and(|it| it.is_listed));
        gone.map(|(id, _)| id).chain(new).cloned().collect()
    }

    /// Works out the watched lists and targets of an application.
    fn update(
        &mut self,
        id: &str,
        (shard, source): (Shard, NameSource),
        now: Duration,
        removed_in_progress: &mut BTreeMap<Target, Completion>,
        change: &mut Change,
    ) {
        let mut before = self.applications.remove(id).unwrap_or_default();
        let is_listed = self.listed.contains(id);
        let of_all =
            self.patterns.get(&None).filter(|_| is_listed).into_iter().flatten().map(|pattern| {
                TargetPattern { application: IdPattern::Id(id.to_owned()), ..pattern.clone() }
            });
        let named = self.patterns.get(&Some(id.to_owned())).into_iter().flatten().cloned();
        let patterns: Vec<_> = of_all.chain(named).collect();
        if patterns.is_empty() {
            return before.remove(&self.region_client, removed_in_progress, change);
        }
        let selection = discovery::select(&patterns, shard, |_| before.list.as_ref()?.resources());
        let list = selection.list_ids.into_iter().next().map(|list_id| {
            before.list.take().unwrap_or_else(|| {
                let list =
                    CachedListing::new(list_id, Purpose::Discovery, Arc::clone(&self.region_client), now);
                let list = Arc::new(list);
                change.new_lists.push(Arc::clone(&list));
                list
            })
        });
        let mut known: BTreeMap<_, _> =
            mem::take(&mut before.entries).into_iter().map(|entry| (entry.target.clone(), entry)).collect();
        let entries = selection.targets.into_iter().map(|target| {
            if let Some(entry) = known.remove(&target) {
                change.kept += 1;
                return entry;
            }
            let earlier = removed_in_progress.remove(&target);
            let entry = Arc::new(TargetEntry::new(target, Arc::clone(&self.region_client), now, earlier));
            self.region_client.learn_requests(0, entry.requests());
            change.new_targets.push(Arc::clone(&entry));
            entry
        });
        let entries: Vec<_> = entries.collect();
        let is_needed = source == NameSource::All && list.is_none() && !entries.is_empty();
        let name_list = name_list(before.name_list.take(), is_needed, Some(id), &self.region_client, now);
        let application =
            ApplicationState { is_listed, list, name_list, names: mem::take(&mut before.names), entries };
        before.entries = known.into_values().collect();
        before.remove(&self.region_client, removed_in_progress, change);
        self.applications.insert(id.to_owned(), application);
    }
}

/// Returns the existing list for names, or a new one, if it is needed.
fn name_list(
    kept: Option<Arc<CachedListing>>,
    is_needed: bool,
    application_id: Option<&str>,
    region_client: &Arc<RegionClient>,
    now: Duration,
) -> Option<Arc<CachedListing>> {
    if !is_needed {
        if let Some(list) = kept {
            list.remove();
        }
        return None;
    }
    let new = || {
        let (account_id, region) = region_client.account_and_region();
        let application_id = application_id.map(str::to_owned);
        let list_id = ListId { account_id: account_id.to_owned(), region: region.to_owned(), application_id };
        Arc::new(CachedListing::new(list_id, Purpose::Names, Arc::clone(region_client), now))
    };
    Some(kept.unwrap_or_else(new))
}

impl ApplicationState {
    /// Removes the application with its list and targets.
    fn remove(
        self,
        region_client: &RegionClient,
        removed_in_progress: &mut BTreeMap<Target, Completion>,
        change: &mut Change,
    ) {
        self.list.iter().chain(&self.name_list).for_each(|list| list.remove());
        for entry in self.entries {
            change.gone += 1;
            region_client.learn_requests(entry.requests(), 0);
            removed_in_progress.extend(entry.remove().map(|completion| (entry.target.clone(), completion)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Config, proxy::Proxies},
        exporter::accounts::Accounts,
        metrics::telemetry::Telemetry,
        model::{
            clock::{Clock, SystemClock},
            names::NamedResource,
            target,
        },
        pinpoint::{Http, Observer, Source},
    };

    const NOW: Duration = Duration::from_secs(1);

    fn clients() -> Clients {
        let variables = [("AWS_REGION", "eu-west-1"), ("PINPOINT_EXPORTER_TARGETS", "*/*")];
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        let (config, _) = Config::parse(variables, None).unwrap();
        let source = Source::new(|_| Box::pin(std::future::pending()));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let observer: Arc<dyn Observer> = Arc::new(Telemetry::new().unwrap());
        let http = Http::new(None, &Proxies::default()).unwrap();
        Accounts::new(&config, &http, source, &clock, &observer).unwrap().clients
    }

    fn watch_list(targets: &str, clients: &Clients) -> WatchList {
        let mut watch_list = WatchList::new(Shard::WHOLE, NameSource::Discovered);
        set(&mut watch_list, targets, clients);
        watch_list
    }

    fn set(watch_list: &mut WatchList, targets: &str, clients: &Clients) {
        let patterns = target::parse(targets, Some("eu-west-1")).patterns.into_keys().collect();
        watch_list.set_targets(patterns, clients, NOW);
    }

    fn learn(
        watch_list: &mut WatchList,
        application: Option<&str>,
        ids: impl IntoIterator<Item = String>,
    ) -> Change {
        let listings = &watch_list.watched().listings;
        let here = |list: &&Arc<CachedListing>| list.list_id.application_id.as_deref() == application;
        let list = listings.iter().find(here).unwrap();
        list.learn(ids.into_iter().map(NamedResource::unnamed).collect());
        watch_list.learn(list, NOW)
    }

    fn targets(watch_list: &mut WatchList) -> Vec<String> {
        watch_list.watched().entries.iter().map(|entry| entry.target.to_string()).collect()
    }

    fn ids(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn finding_four_times_the_targets_is_four_times_the_work() {
        let clients = clients();
        let work = |applications: usize| {
            let mut watch_list = watch_list("*/*", &clients);
            let mut looked_at = 0;
            let names: Vec<_> = (0..applications).map(|n| format!("app-{n:03}")).collect();
            let mut count = |change: Change| {
                looked_at += change.new_lists.len() + change.new_targets.len() + change.kept + change.gone;
            };
            count(learn(&mut watch_list, None, names.clone()));
            for name in &names {
                count(learn(&mut watch_list, Some(name), (0..500).map(|n| format!("segment-{n:03}"))));
            }
            assert_eq!(watch_list.watched().entries.len(), 500 * applications);
            looked_at
        };
        assert_eq!((work(25), work(100)), (501 * 25, 501 * 100));
    }

    #[test]
    fn the_block_of_names_is_replaced_only_after_a_change() {
        let clients = clients();
        let mut watch_list = watch_list("a/*", &clients);
        let resource = |n: usize, name: &str| NamedResource {
            name: Some(name.into()),
            ..NamedResource::unnamed(format!("segment-{n:03}"))
        };
        let mut read = |names: [&str; 500]| {
            let list = Arc::clone(&watch_list.watched().listings[0]);
            list.learn(names.iter().enumerate().map(|(n, name)| resource(n, name)).collect());
            watch_list.learn(&list, NOW);
            let watched = watch_list.watched();
            let mut block = None;
            let look = || block = Some(watched.applications[0].block(&watched.entries, &Arc::default()));
            let allocated = allocation_counter::measure(look).bytes_total;
            (block.unwrap(), allocated)
        };
        let mut names = ["Newsletter"; 500];
        let (first, _) = read(names);
        let (again, allocated) = read(names);
        assert!(again.is(&first) && allocated < 500 * 40, "{allocated} bytes, though nothing has changed");
        names[7] = "Weekly";
        assert!(!read(names).0.is(&first));
    }

    #[test]
    fn a_list_changes_what_it_names_and_nothing_else() {
        let clients = clients();
        let mut watch_list = watch_list("*/* a/* a/named b/other", &clients);
        assert_eq!(targets(&mut watch_list), ["a/named", "b/other"]);
        let before = watch_list.watched().entries.clone();
        let change = learn(&mut watch_list, None, ids(&["a", "b", "c"]));
        assert_eq!((change.new_lists.len(), change.new_targets.len()), (2, 0), "that of a is known");
        let change = learn(&mut watch_list, Some("a"), ids(&["1", "2", "named"]));
        assert_eq!((change.new_targets.len(), change.kept, change.gone), (2, 1, 0));
        learn(&mut watch_list, Some("b"), ids(&["x"]));
        assert_eq!(targets(&mut watch_list), ["a/1", "a/2", "a/named", "b/other", "b/x"]);
        assert!(Arc::ptr_eq(&before[0], &watch_list.watched().entries[2]), "what stays is the same");
        let change = learn(&mut watch_list, Some("a"), ids(&["2"]));
        assert_eq!((change.new_targets.len(), change.kept, change.gone), (0, 2, 1));
        learn(&mut watch_list, None, ids(&["c"]));
        assert_eq!(targets(&mut watch_list), ["a/2", "a/named", "b/other"]);
        let lists: Vec<_> =
            watch_list.watched().listings.iter().map(|it| it.list_id.application_id.clone()).collect();
        assert_eq!(lists, [None, Some("a".to_owned()), Some("c".to_owned())]);
    }

    #[test]
    fn other_targets_keep_what_they_share_with_those_before() {
        let clients = clients();
        let mut watch_list = watch_list("a/* b/1", &clients);
        learn(&mut watch_list, Some("a"), ids(&["1", "2"]));
        let before = watch_list.watched();
        set(&mut watch_list, "a/2 a/3 b", &clients);
        let after = watch_list.watched();
        assert_eq!(targets(&mut watch_list), ["a/2", "a/3", "b"]);
        assert!(Arc::ptr_eq(&before.entries[1], &after.entries[0]) && after.listings.is_empty());
        assert!(
            before.entries[0].is_removed()
                && before.entries[2].is_removed()
                && !after.entries[0].is_removed()
        );
        assert!(before.listings[0].is_removed());
        assert!(watch_list.learn(&before.listings[0], NOW).new_targets.is_empty());
        set(&mut watch_list, "* b", &clients);
        learn(&mut watch_list, None, ids(&["b", "c"]));
        assert_eq!(targets(&mut watch_list), ["b", "c"]);
        assert!(
            Arc::ptr_eq(&after.entries[2], &watch_list.watched().entries[0]),
            "named before, and now found too"
        );
        set(&mut watch_list, "", &clients);
        assert!(targets(&mut watch_list).is_empty() && watch_list.watched().listings.is_empty());
    }

    #[test]
    fn a_target_that_comes_back_is_not_read_before_the_refresh_of_the_one_before_has_ended() {
        use crate::collect::refresh_schedule::Lookup;
        let clients = clients();
        let mut watch_list = watch_list("a/1", &clients);
        let Lookup::Due(due) = watch_list.watched().entries[0].look_up(NOW) else { panic!("it is due") };
        set(&mut watch_list, "a/2", &clients);
        set(&mut watch_list, "a/1", &clients);
        let entry = Arc::clone(&watch_list.watched().entries[0]);
        assert!(matches!(entry.look_up(NOW), Lookup::UnderWay(_)));
        drop(due);
        assert!(matches!(entry.look_up(NOW), Lookup::Due(_)));
    }
}
