//! The shown names of an application and its watched segments. They are rendered only after a change.

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{cached_listing::CachedListing, region_client::RegionClient, target_entry::TargetEntry};
use crate::{
    metrics::block::{self, Block, Names},
    model::{
        names::{NamedResource, TagLabels},
        overview::KnownNames,
    },
};

/// An application with a watched list or target.
pub(super) struct WatchedApplication {
    pub(super) id: String,
    pub(super) region_client: Arc<RegionClient>,
    /// The range of its entries in the list of all entries.
    pub(super) entries: Range<usize>,
    /// The list of applications that contains it.
    pub(super) applications: Option<Arc<CachedListing>>,
    /// The list of its segments.
    pub(super) segments: Option<Arc<CachedListing>>,
    pub(super) names: Arc<ShownNames>,
}

/// The names that were rendered last.
#[derive(Default)]
pub(super) struct ShownNames(Mutex<Option<Shown>>);

struct Shown {
    names: Names,
    block: Block,
}

impl WatchedApplication {
    /// The known names of the application and its segments.
    pub(super) fn known(&self) -> KnownNames {
        let applications = self.applications.as_ref().and_then(|list| list.resources());
        let application = applications.as_ref().and_then(|all| NamedResource::find(all, &self.id));
        KnownNames {
            application: application.and_then(|it| it.name.clone()),
            segments: self.segments.as_ref().and_then(|list| list.resources()).unwrap_or_default(),
        }
    }

    /// The families of the names. `entries` are those of the application. If a target is a whole application, the segments in
    /// its jobs are watched too.
    pub(super) fn block(&self, entries: &[Arc<TargetEntry>], tag_labels: &Arc<TagLabels>) -> Block {
        let applications = self.applications.as_ref().and_then(|list| list.resources());
        let segments = self.segments.as_ref().and_then(|list| list.resources()).unwrap_or_default();
        let find = |id: &str| segments.binary_search_by(|segment| segment.id.as_str().cmp(id)).ok();
        let mut watched = Vec::new();
        for entry in entries.iter().filter(|_| !segments.is_empty()) {
            match &entry.target.segment_id {
                Some(id) => watched.extend(find(id)),
                None => watched.extend(entry.shown().iter().flat_map(|shown| {
                    shown.snapshot.segments.iter().filter_map(|segment| find(&segment.id)).collect::<Vec<_>>()
                })),
            }
        }
        let names = Names {
            application: applications.and_then(|all| NamedResource::find(&all, &self.id).cloned()),
            segments,
            shown: watched,
            tag_labels: Arc::clone(tag_labels),
        };
        let mut shown = self.names.state();
        if let Some(shown) = &*shown
            && is_same(&shown.names, &names)
        {
            return shown.block.clone();
        }
        let (account_id, region) = self.region_client.account_and_region();
        let block = block::names([account_id, region, &self.id], names.clone());
        *shown = Some(Shown { names, block: block.clone() });
        block
    }
}

/// Returns whether nothing has changed. A list that was read again without a change keeps its allocation.
fn is_same(one: &Names, other: &Names) -> bool {
    Arc::ptr_eq(&one.segments, &other.segments)
        && one.shown == other.shown
        && one.application == other.application
}

impl ShownNames {
    fn state(&self) -> MutexGuard<'_, Option<Shown>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
