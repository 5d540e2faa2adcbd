//! The clients of all accounts and regions of the targets, and the credentials of each account.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use super::error::SetupError;
use crate::{
    config::Config,
    model::{clock::Clock, names::NameSource, target::TargetPattern, timestamp::Timestamp},
    pinpoint::{self, Client, Clients, CredentialsCache, Http, Observer, Owner, ProviderChain, Source, Sts},
};

pub struct Accounts {
    config: Config,
    http: Http,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    /// The process's own credentials. Roles are assumed with them.
    own: Arc<CredentialsCache>,
    pub clients: Clients,
    /// By the account of the targets. The key is `""` for targets without one.
    pub credentials: BTreeMap<String, Arc<CredentialsCache>>,
}

impl Accounts {
    /// Creates the clients and credentials of the configured targets. `own` is the source of the process's own credentials. It
    /// sends no request to AWS yet.
    pub fn new(
        config: &Config,
        http: &Http,
        own: Arc<Source>,
        clock: &Arc<dyn Clock>,
        observer: &Arc<dyn Observer>,
    ) -> Result<Self, SetupError> {
        let mut accounts = Self {
            config: config.clone(),
            http: http.clone(),
            clock: Arc::clone(clock),
            observer: Arc::clone(observer),
            own: Arc::new(CredentialsCache::new(own, Arc::clone(clock), config.cache_ttl, None)),
            clients: BTreeMap::new(),
            credentials: BTreeMap::new(),
        };
        accounts.set_targets(&config.targets)?;
        Ok(accounts)
    }

    /// Creates what new targets need and removes what no target needs. Clients and credentials that are still needed keep their
    /// state. An error changes nothing.
    pub fn set_targets(&mut self, targets: &[TargetPattern]) -> Result<(), SetupError> {
        let Self { config, http, clock, observer, .. } = &*self;
        let mut clients = Clients::new();
        let mut all_credentials = BTreeMap::new();
        for TargetPattern { account_id, region, .. } in targets {
            let Entry::Vacant(place) = clients.entry((account_id.clone(), region.clone())) else {
                continue;
            };
            let credentials = all_credentials.entry(account_id.clone()).or_insert_with(|| {
                match self.credentials.get(account_id) {
                    Some(credentials) => Arc::clone(credentials),
                    None => self.credentials_of(account_id, region),
                }
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

    /// The maximum number of simultaneous requests to Pinpoint.
    pub fn simultaneous_requests(&self) -> usize {
        self.clients.len() * self.config.max_concurrent_requests
    }

    /// When credentials expire, by account: the process's own under `""`, and those of roles.
    pub fn expiries(&self) -> Vec<(String, Timestamp)> {
        let has_role = |account_id: &str| self.config.roles.by_account.contains_key(account_id);
        let of_roles = self.credentials.iter().filter(|(account_id, _)| has_role(account_id));
        let of_roles = of_roles.map(|(account_id, credentials)| (account_id.as_str(), credentials));
        let all = std::iter::once(("", &self.own)).chain(of_roles);
        all.filter_map(|(account_id, credentials)| Some((account_id.to_owned(), credentials.expiry()?)))
            .collect()
    }

    /// The credentials of an account: those of its role, or the process's own. `region` is the region of one of its targets.
    fn credentials_of(&self, account_id: &str, region: &str) -> Arc<CredentialsCache> {
        let Self { config, http, own, .. } = self;
        if account_id.is_empty() {
            return Arc::clone(own);
        }
        let source = match config.roles.by_account.get(account_id) {
            Some(role_arn) => pinpoint::assumed_role(
                sts(config, http, region),
                role_arn.clone(),
                config.roles.external_id.clone(),
                Arc::clone(own),
            ),
            None => pinpoint::shared(Arc::clone(own)),
        };
        // With a custom endpoint, the account of the credentials is not verified.
        let owner = config.endpoint_url.is_none();
        let owner =
            owner.then(|| Owner { account_id: account_id.to_owned(), sts: sts(config, http, region) });
        Arc::new(CredentialsCache::new(source, Arc::clone(&self.clock), config.cache_ttl, owner))
    }
}

/// The STS client settings for a target in the region `of_target`.
pub fn sts(config: &Config, http: &Http, of_target: &str) -> Sts {
    Sts {
        http: http.clone(),
        region: config.sts_region(of_target).to_owned(),
        endpoint: config.sts_endpoint_url.clone(),
        use_fips: config.use_fips_endpoint,
        use_dualstack: config.use_dualstack_endpoint,
    }
}

/// The source of the process's own credentials: AWS's standard chain.
pub fn own_source(config: &Config, http: &Http) -> Arc<Source> {
    let sts = sts(config, http, config.region());
    pinpoint::default_chain(ProviderChain { environment: config.credentials.clone(), sts })
}

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
        tags: (config.names != NameSource::Off).then(|| Arc::clone(&config.tag_labels)),
        failures: config.show_failures,
        random: fastrand::f64,
    })
}
