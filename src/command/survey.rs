//! One look at what there is: every list of applications and segments is read once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::{StreamExt as _, stream};

use super::Progress;
use crate::{
    accounts::Clients,
    config::Config,
    discovery::{self, Catalog},
    names::NamedResource,
    pinpoint::{Client, Error, LeftOut},
    target::Target,
};

/// A list that was read.
pub(super) struct List {
    /// In the order of their ids.
    pub(super) resources: Arc<[NamedResource]>,
    pub(super) left_out: LeftOut,
}

/// What was found.
pub(super) struct Survey {
    /// Every list that the targets name, with the ids in it.
    pub(super) lists: BTreeMap<Catalog, Result<List, Error>>,
    /// The targets, as far as lists could be read.
    pub(super) targets: BTreeSet<Target>,
}

impl Survey {
    /// Reads the lists, and those that are found in them.
    pub(super) async fn make(config: &Config, clients: &Clients, progress: &Progress<'_>) -> Self {
        let mut lists: BTreeMap<Catalog, Result<List, Error>> = BTreeMap::new();
        loop {
            let known =
                |catalog: &Catalog| lists.get(catalog)?.as_ref().ok().map(|list| Arc::clone(&list.resources));
            let wanted = discovery::wanted(&config.targets, config.shard, known);
            let unread = wanted.catalogs.iter().filter(|catalog| !lists.contains_key(catalog));
            let unread: Vec<_> = unread
                .filter_map(|catalog| Some((catalog, client(clients, &catalog.account_id, &catalog.region)?)))
                .collect();
            if unread.is_empty() {
                return Self { lists, targets: wanted.targets };
            }
            let total = unread.len();
            let read = unread.into_iter().map(|(catalog, client)| async move {
                let read = match &catalog.application_id {
                    Some(application) => client.segments(application, client.permit()).await,
                    None => client.applications(client.permit()).await,
                };
                let list =
                    read.map(|(resources, left_out)| List { resources: resources.into(), left_out });
                (catalog.clone(), list)
            });
            let mut read = stream::iter(read).buffer_unordered(config.max_concurrent_requests);
            let mut done = 0;
            while let Some((catalog, ids)) = read.next().await {
                lists.insert(catalog, ids);
                done += 1;
                progress("lists", done, total);
            }
        }
    }
}

/// The client of an account and region.
pub(super) fn client<'a>(clients: &'a Clients, account_id: &str, region: &str) -> Option<&'a Arc<Client>> {
    clients.get(&(account_id.to_owned(), region.to_owned()))
}
