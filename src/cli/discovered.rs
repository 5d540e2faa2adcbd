//! Runs discovery once: reads every list of applications and segments one time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::{StreamExt as _, stream};

use super::progress::Progress;
use crate::{
    collect::discovery,
    config::Config,
    model::{
        list_id::ListId,
        names::{NameSource, NamedResource},
        shard::Shard,
        target::Target,
    },
    pinpoint::{Client, Clients, Error, SkippedParts},
};

/// A list that was read.
pub(super) struct List {
    /// Sorted by id.
    pub(super) resources: Arc<[NamedResource]>,
    pub(super) left_out: SkippedParts,
}

/// The results of discovery.
pub(super) struct Survey {
    /// Every list that the targets need, with its result.
    pub(super) lists: BTreeMap<ListId, Result<List, Error>>,
    /// The targets in the lists that could be read.
    pub(super) targets: BTreeSet<Target>,
    /// The lists that are read only for their names. Empty before [`Survey::read_names`].
    pub(super) names: BTreeMap<ListId, Result<List, Error>>,
}

impl Survey {
    /// Reads the lists that the targets need, and the lists that these lead to.
    pub(super) async fn make(config: &Config, clients: &Clients, progress: &Progress<'_>) -> Self {
        let mut lists: BTreeMap<ListId, Result<List, Error>> = BTreeMap::new();
        loop {
            let known =
                |list_id: &ListId| lists.get(list_id)?.as_ref().ok().map(|list| Arc::clone(&list.resources));
            let selection = discovery::select(&config.targets, config.shard, known);
            let unread = selection.list_ids.iter().filter(|list_id| !lists.contains_key(list_id));
            let unread: Vec<_> = unread
                .filter_map(|list_id| Some((list_id, client(clients, &list_id.account_id, &list_id.region)?)))
                .collect();
            if unread.is_empty() {
                return Self { lists, targets: selection.targets, names: BTreeMap::new() };
            }
            lists.extend(read_lists(config, unread, progress).await);
        }
    }

    /// Reads the lists that the exporter would read only for their names.
    pub(super) async fn read_names(&mut self, config: &Config, clients: &Clients, progress: &Progress<'_>) {
        let lists = self.name_lists(config);
        let unread = lists
            .iter()
            .filter_map(|list_id| Some((list_id, client(clients, &list_id.account_id, &list_id.region)?)));
        self.names = read_lists(config, unread.collect(), progress).await;
    }

    /// The name of an application or a segment, if it was read.
    pub(super) fn name(
        &self,
        [account_id, region, application_id]: [&str; 3],
        segment_id: Option<&str>,
    ) -> Option<String> {
        let list = ListId {
            account_id: account_id.to_owned(),
            region: region.to_owned(),
            application_id: segment_id.map(|_| application_id.to_owned()),
        };
        let list = self.lists.get(&list).or_else(|| self.names.get(&list))?.as_ref().ok()?;
        NamedResource::find(&list.resources, segment_id.unwrap_or(application_id))?
            .name
            .as_deref()
            .map(str::to_owned)
    }

    /// The lists that the exporter would read only for their names.
    pub(super) fn name_lists(&self, config: &Config) -> BTreeSet<ListId> {
        let targets = self.targets.iter().filter(|_| config.names == NameSource::All);
        let lists = targets.flat_map(|Target { account_id, region, application_id, .. }| {
            let list = |application_id: Option<&String>| ListId {
                account_id: account_id.clone(),
                region: region.clone(),
                application_id: application_id.cloned(),
            };
            [list(None), list(Some(application_id))]
        });
        lists.filter(|list| !self.lists.contains_key(list)).collect()
    }

    /// The applications and segments whose names the exporter would show. An application has no segment. A list that would be
    /// read only for its names is assumed to name everything.
    pub(super) fn named(&self, config: &Config) -> BTreeSet<Target> {
        let is_named = |target: &Target, application_id: Option<&String>, id: &str| {
            let list = ListId {
                account_id: target.account_id.clone(),
                region: target.region.clone(),
                application_id: application_id.cloned(),
            };
            match self.lists.get(&list) {
                Some(Ok(list)) => NamedResource::find(&list.resources, id).is_some(),
                Some(Err(_)) => false,
                None => config.names == NameSource::All,
            }
        };
        let whole = |target: &Target| Target { segment_id: None, ..target.clone() };
        // A shard does not show names of applications without a target in the shard.
        let lists = self.lists.keys().filter(|_| config.shard == Shard::WHOLE);
        let listed = lists.filter_map(|ListId { account_id, region, application_id }| {
            let (account_id, region) = (account_id.clone(), region.clone());
            Some(Target { account_id, region, application_id: application_id.clone()?, segment_id: None })
        });
        let applications = self.targets.iter().map(whole).chain(listed);
        let applications = applications.filter(|target| is_named(target, None, &target.application_id));
        let segments = self.targets.iter().filter(|target| {
            let id = target.segment_id.as_deref();
            id.is_some_and(|id| is_named(target, Some(&target.application_id), id))
        });
        let all = applications.chain(segments.cloned());
        all.filter(|_| config.names != NameSource::Off).collect()
    }
}

/// Reads lists concurrently.
async fn read_lists(
    config: &Config,
    unread: Vec<(&ListId, &Arc<Client>)>,
    progress: &Progress<'_>,
) -> BTreeMap<ListId, Result<List, Error>> {
    let total = unread.len();
    let read = unread.into_iter().map(|(list_id, client)| async move {
        let read = match &list_id.application_id {
            Some(application) => client.segments(application, client.permit()).await,
            None => client.applications(client.permit()).await,
        };
        (list_id.clone(), read.map(|(resources, left_out)| List { resources: resources.into(), left_out }))
    });
    let mut read = stream::iter(read).buffer_unordered(config.max_concurrent_requests);
    let mut lists = BTreeMap::new();
    while let Some((list_id, list)) = read.next().await {
        lists.insert(list_id, list);
        progress("lists", lists.len(), total);
    }
    lists
}

/// The client for an account and region.
pub(super) fn client<'a>(clients: &'a Clients, account_id: &str, region: &str) -> Option<&'a Arc<Client>> {
    clients.get(&(account_id.to_owned(), region.to_owned()))
}
