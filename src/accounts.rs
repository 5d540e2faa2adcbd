//! Settings → a client for each account and region of the targets, and the credentials of each account.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use crate::{
    clock::Clock,
    config::Config,
    exporter::SetupError,
    pinpoint::{self, Client, CredentialsCache, Http, Observer, Owner, Source},
    target::TargetPattern,
};

/// A client for each account and region.
pub type Clients = BTreeMap<(String, String), Arc<Client>>;

/// Whom the exporter asks, and in whose name.
pub struct Accounts {
    /// By account and region.
    pub clients: Clients,
    /// By account of the targets; `""` for targets without one.
    pub credentials: BTreeMap<String, Arc<CredentialsCache>>,
    /// The process's own credentials, which it also assumes roles with.
    pub own: Arc<CredentialsCache>,
}

impl Accounts {
    /// Those of the configured targets. `own` is the source of the process's own credentials. Nothing is asked of AWS yet.
    pub fn new(
        config: &Config,
        http: &Http,
        own: Arc<Source>,
        clock: &Arc<dyn Clock>,
        observer: &Arc<dyn Observer>,
    ) -> Result<Self, SetupError> {
        let cache = |source, owner| {
            Arc::new(CredentialsCache::new(source, Arc::clone(clock), config.cache_ttl, owner))
        };
        let own = cache(own, None);
        let mut accounts = Self { clients: BTreeMap::new(), credentials: BTreeMap::new(), own };
        let Self { clients, credentials, own } = &mut accounts;
        for TargetPattern { account_id, region, .. } in &config.targets {
            let Entry::Vacant(place) = clients.entry((account_id.clone(), region.clone())) else {
                continue;
            };
            let credentials = credentials.entry(account_id.clone()).or_insert_with(|| {
                if account_id.is_empty() {
                    return Arc::clone(own);
                }
                // An API of one's own is taken at its word.
                let owner = config.endpoint_url.is_none().then(|| Owner {
                    account_id: account_id.clone(),
                    region: region.clone(),
                    http: http.clone(),
                });
                cache(account_source(config, http, account_id, own), owner)
            });
            place.insert(Arc::new(Client::new(
                client_settings(config, region)?,
                http.clone(),
                Arc::clone(credentials),
                Arc::clone(clock),
                Arc::clone(observer),
            )));
        }
        Ok(accounts)
    }
}

/// The role of an account, or the process's own credentials.
fn account_source(
    config: &Config,
    http: &Http,
    account_id: &str,
    own: &Arc<CredentialsCache>,
) -> Arc<Source> {
    match config.roles.by_account.get(account_id) {
        Some(role_arn) => pinpoint::assumed_role(
            http.clone(),
            config.region().to_owned(),
            role_arn.clone(),
            config.roles.external_id.clone(),
            Arc::clone(own),
        ),
        None => pinpoint::shared(Arc::clone(own)),
    }
}

/// The source of the process's own credentials: AWS's standard chain.
pub fn own_source(config: &Config, http: &Http) -> Arc<Source> {
    pinpoint::default_chain(http.clone(), config.region().to_owned())
}

/// The settings of the client for a region.
fn client_settings(config: &Config, region: &str) -> Result<pinpoint::Settings, SetupError> {
    let endpoint = match &config.endpoint_url {
        Some(url) => url.clone(),
        None => pinpoint::aws_endpoint(region, config.use_fips_endpoint, config.use_dualstack_endpoint)
            .map_err(|source| SetupError::Region { region: region.to_owned(), source })?,
    };
    Ok(pinpoint::Settings {
        region: region.to_owned(),
        endpoint,
        page_size: config.page_size,
        max_pages: config.max_pages,
        max_requests_per_second: config.max_requests_per_second,
        request_timeout: config.request_timeout,
        refresh_timeout: config.refresh_timeout,
        max_attempts: config.max_attempts,
        random: fastrand::f64,
    })
}
