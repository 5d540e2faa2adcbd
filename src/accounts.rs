//! Settings → a client for each account and region of the targets, and the credentials of each account.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use crate::{
    clock::Clock,
    config::Config,
    exporter::SetupError,
    pinpoint::{self, Client, CredentialsCache, Http, MakeProvider, Observer, Owner},
    target::TargetPattern,
};

/// A client for each account and region.
pub type Clients = BTreeMap<(String, String), Arc<Client>>;

/// The source of credentials for an account.
pub type Sources = Arc<dyn Fn(&str) -> Arc<MakeProvider> + Send + Sync>;

/// Whom the exporter asks, and in whose name.
pub struct Accounts {
    config: Config,
    http: Http,
    sources: Sources,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    /// By account and region.
    pub clients: Clients,
    /// By account; `""` is the process's own.
    pub credentials: BTreeMap<String, Arc<CredentialsCache>>,
}

impl Accounts {
    /// Those of the configured targets. Nothing is asked of AWS yet.
    pub fn new(
        config: &Config,
        http: &Http,
        sources: Sources,
        clock: &Arc<dyn Clock>,
        observer: &Arc<dyn Observer>,
    ) -> Result<Self, SetupError> {
        let mut accounts = Self {
            config: config.clone(),
            http: http.clone(),
            sources,
            clock: Arc::clone(clock),
            observer: Arc::clone(observer),
            clients: BTreeMap::new(),
            credentials: BTreeMap::new(),
        };
        accounts.set_targets(&config.targets)?;
        Ok(accounts)
    }

    /// Replaces them by those of other targets. A client and credentials that are still needed stay as they are, with what they
    /// have learnt. After an error nothing has changed.
    pub fn set_targets(&mut self, targets: &[TargetPattern]) -> Result<(), SetupError> {
        let Self { config, http, sources, clock, observer, .. } = &*self;
        let mut clients = Clients::new();
        let mut all_credentials = BTreeMap::new();
        for TargetPattern { account_id, region, .. } in targets {
            let Entry::Vacant(place) = clients.entry((account_id.clone(), region.clone())) else {
                continue;
            };
            let credentials = all_credentials.entry(account_id.clone()).or_insert_with(|| {
                if let Some(credentials) = self.credentials.get(account_id) {
                    return Arc::clone(credentials);
                }
                // An API of one's own is taken at its word.
                let checked = !account_id.is_empty() && config.endpoint_url.is_none();
                let owner = checked.then(|| Owner {
                    account_id: account_id.clone(),
                    region: region.clone(),
                    http: http.clone(),
                });
                let (source, clock) = (sources(account_id), Arc::clone(clock));
                Arc::new(CredentialsCache::new(source, clock, config.cache_ttl, owner))
            });
            let client = match self.clients.get(place.key()) {
                Some(client) => Arc::clone(client),
                None => Arc::new(Client::new(
                    client_settings(config, region)?,
                    http.clone(),
                    Arc::clone(credentials),
                    Arc::clone(clock),
                    Arc::clone(observer),
                )),
            };
            place.insert(client);
        }
        (self.clients, self.credentials) = (clients, all_credentials);
        Ok(())
    }
}

/// The standard credentials, and the roles assumed with them. All roles share one set of those.
pub fn standard_sources(config: &Config, http: &Http, clock: &Arc<dyn Clock>) -> Sources {
    let (config, http) = (config.clone(), http.clone());
    let chain =
        |config: &Config, http: &Http| pinpoint::default_chain(http.clone(), config.region().to_owned());
    let base = chain(&config, &http);
    let base = Arc::new(CredentialsCache::new(base, Arc::clone(clock), config.cache_ttl, None));
    Arc::new(move |account_id| match config.roles.by_account.get(account_id) {
        Some(role_arn) => pinpoint::assumed_role(
            http.clone(),
            config.region().to_owned(),
            role_arn.clone(),
            config.roles.external_id.clone(),
            Arc::clone(&base),
        ),
        None => chain(&config, &http),
    })
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
        max_concurrent_requests: config.max_concurrent_requests,
        max_requests_per_second: config.max_requests_per_second,
        request_timeout: config.request_timeout,
        refresh_timeout: config.refresh_timeout,
        max_attempts: config.max_attempts,
        random: fastrand::f64,
    })
}
