//! `check`: whether settings, credentials and permissions do what the targets need, and what is missing if they do not.

use std::{collections::BTreeMap, fmt};

use futures_util::{StreamExt as _, future::join_all, stream};
use serde::Serialize;

use super::{
    Progress,
    permission::{Policy, Statement},
    survey::{Survey, client},
    table::Table,
};
use crate::{
    accounts::{Accounts, sts},
    config::Config,
    discovery::Catalog,
    overview::CallError,
    pinpoint::{Error, Exception, Failure, FirstPage, Http, Identity, Operation},
    status::words::{self, counted},
    target::{IdPattern, Target, TargetPattern},
};

/// What was tried, and how it went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Check {
    /// Whether all of it worked.
    pub(super) ok: bool,
    identity: Vec<Caller>,
    lists: Vec<ListCall>,
    targets: Vec<TargetCall>,
    /// What the credentials are not allowed.
    missing: Option<Policy>,
}

/// In whose name the targets of an account are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Caller {
    account: String,
    role_arn: Option<String>,
    #[serde(rename = "caller")]
    identity: Option<CallerIdentity>,
    /// Why the caller is not known.
    error: Option<String>,
    /// There are no credentials.
    #[serde(skip)]
    denied: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct CallerIdentity {
    account: String,
    arn: String,
}

/// A list of applications or segments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ListCall {
    #[serde(flatten)]
    call: Call,
    found: Option<usize>,
}

/// A target's listing, of which one page was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct TargetCall {
    #[serde(flatten)]
    call: Call,
    jobs: Option<usize>,
    /// Whether there are more than these.
    #[serde(skip)]
    and_more: bool,
}

/// A call and how it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Call {
    account: String,
    region: String,
    target: String,
    operation: &'static str,
    ok: bool,
    error: Option<CallError>,
}

impl Check {
    /// Tries everything: the credentials of every account, every list, and one page of every target.
    pub(super) async fn make(
        config: &Config,
        http: &Http,
        accounts: &Accounts,
        progress: &Progress<'_>,
    ) -> Self {
        let callers = accounts.credentials.iter().map(|(account, credentials)| async move {
            let region = config.targets.iter().find(|target| target.account_id == *account);
            let region = region.map_or(config.region(), |target| &target.region);
            let role_arn = config.roles.by_account.get(account).cloned();
            let (found, denied) = match credentials.look_ahead().await {
                Err(Failure { message, .. }) => (Err(message), true),
                Ok(()) if config.may_ask_sts => {
                    (credentials.identity(&sts(config, http, region)).await, false)
                }
                Ok(()) => {
                    (Err("not asked, since AWS_ENDPOINT_URL_PINPOINT names an API of your own".into()), false)
                }
            };
            let (found, error) = match found {
                Ok(Identity { account_id, arn }) => (Some(CallerIdentity { account: account_id, arn }), None),
                Err(error) => (None, Some(error)),
            };
            Caller { account: account.clone(), role_arn, identity: found, error, denied }
        });
        // Side by side: a source that hangs must not delay the others.
        let identity = join_all(callers).await;

        let survey = Survey::make(config, &accounts.clients, progress).await;
        let total = survey.targets.len();
        let calls = survey.targets.iter().filter_map(|target| {
            let client = client(&accounts.clients, &target.account_id, &target.region)?;
            Some(async move {
                let segment_id = target.segment_id.as_deref();
                (target, client.first_page_of_jobs(&target.application_id, segment_id).await)
            })
        });
        let mut calls = stream::iter(calls).buffer_unordered(config.max_concurrent_requests);
        let mut pages: BTreeMap<&Target, Result<FirstPage, Error>> = BTreeMap::new();
        while let Some((target, page)) = calls.next().await {
            pages.insert(target, page);
            progress("targets", pages.len(), total);
        }
        drop(calls);

        let missing = Policy::of(missing_statements(config, &identity, &survey, &pages));
        let lists: Vec<_> = survey.lists.iter().map(|(catalog, ids)| ListCall::new(catalog, ids)).collect();
        let targets: Vec<_> = pages.into_iter().map(|(target, page)| TargetCall::new(target, page)).collect();
        let mut calls = lists.iter().map(|list| &list.call).chain(targets.iter().map(|target| &target.call));
        let ok = calls.all(|call| call.ok) && !identity.iter().any(|caller| caller.denied);
        Self { ok, identity, lists, targets, missing }
    }
}

/// What a policy must allow for all that was denied.
fn missing_statements(
    config: &Config,
    identity: &[Caller],
    survey: &Survey,
    pages: &BTreeMap<&Target, Result<FirstPage, Error>>,
) -> Vec<Statement> {
    // The first pattern is the widest.
    let reading = |account: &str, region: &str, operation, asks: &dyn Fn(&TargetPattern) -> bool| {
        let here = |pattern: &&TargetPattern| pattern.account_id == account && pattern.region == region;
        let pattern = config.targets.iter().filter(here).find(|pattern| asks(pattern))?;
        let own = || {
            let caller = identity.iter().find(|caller| caller.account == account)?.identity.as_ref()?;
            Some(caller.account.as_str())
        };
        let account = if account.is_empty() { own().unwrap_or("*") } else { account };
        Some(Statement::reading(operation, pattern, account))
    };
    let roles = identity.iter().filter(|caller| caller.denied && caller.is_access_denied());
    let roles = roles.filter_map(|caller| Some(Statement::assuming(caller.role_arn.as_deref()?)));
    let lists = survey.lists.iter().filter(|(_, ids)| is_denied(ids)).filter_map(|(catalog, _)| {
        let Catalog { account_id, region, application_id } = catalog;
        reading(account_id, region, list_operation(catalog), &|pattern| match application_id {
            None => pattern.application.covers_all(),
            Some(id) => {
                pattern.application.covers(id) && pattern.segment.as_ref().is_some_and(IdPattern::covers_all)
            }
        })
    });
    let targets = pages.iter().filter(|(_, page)| is_denied(page)).filter_map(|(target, _)| {
        let Target { account_id, region, application_id, segment_id } = target;
        reading(account_id, region, target_operation(target), &|pattern| {
            pattern.application.covers(application_id)
                && match (&pattern.segment, segment_id) {
                    (Some(pattern), Some(id)) => pattern.covers(id),
                    (None, None) => true,
                    _ => false,
                }
        })
    });
    roles.chain(lists).chain(targets).collect()
}

fn is_denied<T>(result: &Result<T, Error>) -> bool {
    let denied = |error: &Error| {
        matches!(error.failure.exception, Exception::AccessDeniedException | Exception::ForbiddenException)
    };
    result.as_ref().is_err_and(denied)
}

fn list_operation(catalog: &Catalog) -> Operation {
    if catalog.application_id.is_some() { Operation::GetSegments } else { Operation::GetApps }
}

fn target_operation(target: &Target) -> Operation {
    if target.segment_id.is_some() { Operation::GetSegmentExportJobs } else { Operation::GetExportJobs }
}

impl Caller {
    /// Whether STS said so.
    fn is_access_denied(&self) -> bool {
        self.error.as_ref().is_some_and(|error| error.contains("AccessDenied"))
    }
}

impl ListCall {
    pub(super) fn new(catalog: &Catalog, ids: &Result<impl AsRef<[String]>, Error>) -> Self {
        let target = match &catalog.application_id {
            Some(application) => format!("{application}/*"),
            None => "*".to_owned(),
        };
        let (account, region) = (&catalog.account_id, &catalog.region);
        let call = Call::new(account, region, target, list_operation(catalog), ids.as_ref().err());
        Self { call, found: ids.as_ref().ok().map(|ids| ids.as_ref().len()) }
    }

    /// As a row of a table, after what is told of these callers.
    pub(super) fn row(&self, told: &[Caller]) -> [String; 5] {
        let of_segments = self.call.operation == Operation::GetSegments.name();
        let what = if of_segments { "segment" } else { "application" };
        self.call.row(words::found(self.found.unwrap_or(0) as u64, what), told)
    }
}

/// The columns of a row.
pub(super) const CALL_COLUMNS: [&str; 5] = ["account", "region", "target", "operation", "result"];

impl TargetCall {
    fn new(target: &Target, page: Result<FirstPage, Error>) -> Self {
        let (account, region) = (&target.account_id, &target.region);
        let operation = target_operation(target);
        let call = Call::new(account, region, target.to_string(), operation, page.as_ref().err());
        let and_more = page.as_ref().is_ok_and(|page| !page.is_last);
        Self { call, jobs: page.ok().map(|page| page.jobs), and_more }
    }
}

impl Call {
    fn new(account: &str, region: &str, target: String, operation: Operation, error: Option<&Error>) -> Self {
        Self {
            account: account.to_owned(),
            region: region.to_owned(),
            target,
            operation: operation.name(),
            ok: error.is_none(),
            error: error.map(CallError::from),
        }
    }

    /// `told` are the callers of whom it is said already that they have no credentials.
    fn row(&self, good: String, told: &[Caller]) -> [String; 5] {
        let is_told = told.iter().any(|caller| caller.denied && caller.account == self.account);
        let result = match &self.error {
            None => good,
            Some(error) if is_told && error.exception == Exception::CredentialsError => {
                format!("{}, see the caller", error.exception.name())
            }
            Some(error) => error.to_string(),
        };
        [or_dash(&self.account), self.region.clone(), self.target.clone(), self.operation.to_owned(), result]
    }
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_owned()
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["account", "role", "caller"]);
        for Caller { account, role_arn, identity, error, .. } in &self.identity {
            let caller = identity.as_ref().map(|caller| &caller.arn).or(error.as_ref()).cloned();
            table.row([
                or_dash(account),
                or_dash(role_arn.as_deref().unwrap_or_default()),
                caller.unwrap_or_default(),
            ]);
        }
        writeln!(f, "{table}")?;
        let mut table = Table::new(CALL_COLUMNS);
        for list in &self.lists {
            table.row(list.row(&self.identity));
        }
        for TargetCall { call, jobs, and_more } in &self.targets {
            let more = if *and_more { " and more" } else { "" };
            table.row(call.row(words::found(jobs.unwrap_or(0) as u64, "job") + more, &self.identity));
        }
        writeln!(f, "{table}")?;
        if let Some(policy) = &self.missing {
            let text = serde_json::to_string_pretty(policy).map_err(|_| fmt::Error)?;
            writeln!(f, "The credentials are not allowed what this policy would allow:\n{text}")?;
            if self.identity.iter().any(|caller| caller.denied && caller.role_arn.is_some()) {
                writeln!(
                    f,
                    "A role's trust policy must name the caller too, with the external id if it asks for one."
                )?;
            }
            writeln!(f)?;
        }
        let calls = self.lists.len() + self.targets.len();
        let failed =
            self.lists.iter().map(|list| &list.call).chain(self.targets.iter().map(|target| &target.call));
        let failed = failed.filter(|call| !call.ok).count();
        let (calls, targets) = (counted(calls as u64, "call"), counted(self.targets.len() as u64, "target"));
        match (self.ok, failed) {
            (true, _) => writeln!(f, "Everything works: {calls}, {targets}."),
            (false, 0) => writeln!(f, "There are no credentials."),
            (false, failed) => writeln!(f, "{failed} of {calls} failed."),
        }
    }
}
