//! `check`: tests whether settings, credentials and permissions suffice for the targets, and reports what is missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use futures_util::{StreamExt as _, future::join_all, stream};
use serde::Serialize;

use super::{
    discovered::{List, Survey, client},
    layout::{COLUMNS, printable_json, wrapped},
    permission::{Policy, Statement},
    progress::Progress,
};
use crate::{
    config::Config,
    exporter::accounts::{Accounts, sts},
    model::{
        exception::Exception,
        list_id::ListId,
        overview::CallError,
        plural::counted,
        printable,
        target::{IdPattern, Target, TargetPattern},
    },
    pinpoint::{AttemptError, Error, FirstPage, Http, Identity, Operation, SkippedParts},
};

/// The calls that `check` made, and their results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// Whether all calls that the targets need succeeded.
    pub(super) ok: bool,
    identity: Vec<Caller>,
    lists: Vec<ListCall>,
    targets: Vec<TargetCall>,
    /// The permissions that the credentials lack for lists and targets.
    missing: Option<Policy>,
    /// The lists that are read only for their names. No target needs them, so they do not affect `ok`.
    names: Vec<ListCall>,
    /// The permissions that the credentials lack for the lists in `names`.
    missing_names: Option<Policy>,
}

/// The identity that reads the targets of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Caller {
    account: String,
    role_arn: Option<String>,
    #[serde(rename = "caller")]
    identity: Option<CallerIdentity>,
    /// Why the caller's identity is not known.
    error: Option<String>,
    /// Whether there are no credentials.
    #[serde(skip)]
    denied: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct CallerIdentity {
    account: String,
    arn: String,
}

/// A call that read a list of applications or segments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ListCall {
    #[serde(flatten)]
    call: Call,
    found: Option<usize>,
}

/// A call that read the first page of a target's listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct TargetCall {
    #[serde(flatten)]
    call: Call,
    jobs: Option<usize>,
    /// Whether the listing has more pages.
    #[serde(skip)]
    and_more: bool,
}

/// A call and its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Call {
    account: String,
    region: String,
    target: String,
    #[serde(skip)]
    application: Option<String>,
    #[serde(skip)]
    segment: Option<String>,
    application_name: Option<String>,
    segment_name: Option<String>,
    operation: &'static str,
    ok: bool,
    error: Option<CallError>,
}

impl Check {
    /// Tests everything: the credentials of every account, every list, and one page of every target.
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
            let (found, denied) = match credentials.prefetch().await {
                Err(AttemptError { message, .. }) => (Err(message), true),
                Ok(()) if config.may_ask_sts => {
                    (credentials.identity(&sts(config, http, region)).await, false)
                }
                Ok(()) => (Err("not asked, because a custom API endpoint is configured".into()), false),
            };
            let (found, error) = match found {
                Ok(Identity { account_id, arn }) => (Some(CallerIdentity { account: account_id, arn }), None),
                Err(error) => (None, Some(error)),
            };
            Caller { account: account.clone(), role_arn, identity: found, error, denied }
        });
        // The accounts are tested concurrently, so that a source that hangs does not delay the others.
        let identity = join_all(callers).await;

        let mut survey = Survey::make(config, &accounts.clients, progress).await;
        survey.read_names(config, &accounts.clients, progress).await;
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
        let missing_names = Policy::of(missing_names(config, &identity, &survey));
        let calls = |lists: &BTreeMap<_, _>| -> Vec<_> {
            lists.iter().map(|(list_id, list)| ListCall::new(list_id, list, &survey)).collect()
        };
        let (lists, names) = (calls(&survey.lists), calls(&survey.names));
        let targets = pages.into_iter().map(|(target, page)| TargetCall::new(target, page, &survey));
        let targets: Vec<_> = targets.collect();
        let mut calls = lists.iter().map(|list| &list.call).chain(targets.iter().map(|target| &target.call));
        let ok = calls.all(|call| call.ok) && !identity.iter().any(|caller| caller.denied);
        Self { ok, identity, lists, targets, missing, names, missing_names }
    }
}

/// The account of a pattern. For a pattern without one, the account of the process's own credentials, or `*` if it is not
/// known.
fn account_of<'a>(pattern: &'a TargetPattern, identity: &'a [Caller]) -> &'a str {
    let own = || {
        let caller = identity.iter().find(|caller| caller.account.is_empty())?.identity.as_ref()?;
        Some(caller.account.as_str())
    };
    if pattern.account_id.is_empty() { own().unwrap_or("*") } else { &pattern.account_id }
}

/// The statements that allow the lists of names that were denied.
fn missing_names(config: &Config, identity: &[Caller], survey: &Survey) -> Vec<Statement> {
    let denied = survey.names.iter().filter(|(_, list)| is_denied(list));
    let statements = denied.filter_map(|(list_id, _)| {
        let is_here = |pattern: &&TargetPattern| {
            pattern.account_id == list_id.account_id && pattern.region == list_id.region
        };
        let pattern = config.targets.iter().find(is_here)?;
        let account = account_of(pattern, identity);
        let application = list_id.application_id.clone().map_or(IdPattern::Any, IdPattern::Id);
        let pattern = TargetPattern { application, segment: Some(IdPattern::Any), ..pattern.clone() };
        Some(Statement::reading(list_operation(list_id), &pattern, account))
    });
    statements.collect()
}

/// The statements that allow everything that was denied, and everything that could not be tried because of that.
fn missing_statements(
    config: &Config,
    identity: &[Caller],
    survey: &Survey,
    pages: &BTreeMap<&Target, Result<FirstPage, Error>>,
) -> Vec<Statement> {
    let roles = identity.iter().filter(|caller| caller.denied && caller.is_access_denied());
    let roles = roles.filter_map(|caller| Some(Statement::assuming(caller.role_arn.as_deref()?)));
    let mut needs = MissingPermissions { survey, pages, lists: BTreeSet::new(), targets: BTreeSet::new() };
    // A wider pattern comes before the patterns that it covers.
    let reading = config.targets.iter().flat_map(|pattern| {
        let account = account_of(pattern, identity);
        let missing = needs.missing(pattern);
        missing.into_iter().map(move |(operation, pattern)| (operation, pattern, account))
    });
    let mut reading: Vec<_> = reading.collect();
    // Statements for lists come before those for the resources that they name.
    let order = [Operation::GetApps, Operation::GetSegments];
    reading.sort_by_key(|(operation, ..)| {
        order.iter().position(|list| list == operation).unwrap_or(order.len())
    });
    let reading =
        reading.iter().map(|(operation, pattern, account)| Statement::reading(*operation, pattern, account));
    roles.chain(reading).collect()
}

/// Finds the permissions that patterns need and lack.
struct MissingPermissions<'a> {
    survey: &'a Survey,
    pages: &'a BTreeMap<&'a Target, Result<FirstPage, Error>>,
    /// The lists and targets that an earlier pattern already needed.
    lists: BTreeSet<&'a ListId>,
    targets: BTreeSet<&'a Target>,
}

impl<'a> MissingPermissions<'a> {
    /// The operations that a pattern lacks permission for. Each comes with the part of the pattern that was denied, or with the
    /// whole pattern if everything was denied.
    fn missing(&mut self, pattern: &TargetPattern) -> Vec<(Operation, TargetPattern)> {
        let part = |application: &str, segment: Option<IdPattern>| TargetPattern {
            application: IdPattern::Id(application.to_owned()),
            segment,
            ..pattern.clone()
        };
        let mut missing = Vec::new();
        let mut add = |operation, needs: &[(TargetPattern, bool)]| {
            let lacking = needs.iter().filter(|(_, is_lacking)| *is_lacking);
            if !needs.is_empty() && needs.iter().all(|(_, is_lacking)| *is_lacking) {
                missing.push((operation, pattern.clone()));
            } else {
                missing.extend(lacking.map(|(part, _)| (operation, part.clone())));
            }
        };
        // Resources that a denied list would have named cannot be tried.
        let mut untried = Vec::new();
        if pattern.application.covers_all() {
            let applications = self.lists(pattern, false).into_iter();
            let applications: Vec<_> =
                applications.map(|(_, is_denied)| (pattern.clone(), is_denied)).collect();
            add(Operation::GetApps, &applications);
            untried.extend(applications.into_iter().filter(|(_, is_lacking)| *is_lacking));
        }
        if pattern.segment.as_ref().is_some_and(IdPattern::covers_all) {
            let lists = self.lists(pattern, true).into_iter();
            let lists =
                lists.filter_map(|(id, is_denied)| Some((part(id?, pattern.segment.clone()), is_denied)));
            let lists: Vec<_> = untried.into_iter().chain(lists).collect();
            add(Operation::GetSegments, &lists);
            untried = lists.into_iter().filter(|(_, is_lacking)| *is_lacking).collect();
        }
        let targets = self.targets(pattern).into_iter().map(|(target, is_denied)| {
            (part(&target.application_id, target.segment_id.clone().map(IdPattern::Id)), is_denied)
        });
        let targets: Vec<_> = untried.into_iter().chain(targets).collect();
        let is_by_segment = pattern.segment.is_some();
        add(if is_by_segment { Operation::GetSegmentExportJobs } else { Operation::GetExportJobs }, &targets);
        missing
    }

    /// The lists that this pattern is the first to need, and whether each was denied. They are lists of segments or of
    /// applications.
    fn lists(&mut self, pattern: &TargetPattern, of_segments: bool) -> Vec<(Option<&'a str>, bool)> {
        let is_meant = |list_id: &ListId| {
            list_id.account_id == pattern.account_id
                && list_id.region == pattern.region
                && match &list_id.application_id {
                    Some(id) => of_segments && pattern.application.covers(id),
                    None => !of_segments,
                }
        };
        let meant = self.survey.lists.iter().filter(|(list_id, _)| is_meant(list_id));
        let first = meant.filter(|(list_id, _)| self.lists.insert(list_id));
        first.map(|(list_id, ids)| (list_id.application_id.as_deref(), is_denied(ids))).collect()
    }

    /// The targets that this pattern is the first to need, and whether each was denied.
    fn targets(&mut self, pattern: &TargetPattern) -> Vec<(&'a Target, bool)> {
        let is_meant = |target: &Target| {
            target.account_id == pattern.account_id
                && target.region == pattern.region
                && pattern.application.covers(&target.application_id)
                && match (&pattern.segment, &target.segment_id) {
                    (Some(pattern), Some(id)) => pattern.covers(id),
                    (pattern, id) => pattern.is_none() && id.is_none(),
                }
        };
        let meant = self.pages.iter().filter(|(target, _)| is_meant(target));
        let first = meant.filter(|(target, _)| self.targets.insert(target));
        first.map(|(target, page)| (*target, is_denied(page))).collect()
    }
}

fn is_denied<T>(result: &Result<T, Error>) -> bool {
    let denied = |error: &Error| {
        let exception = error.failure.exception;
        // A 403 from a gateway does not come from IAM.
        !error.failure.is_from_intermediary
            && matches!(exception, Exception::AccessDeniedException | Exception::ForbiddenException)
    };
    result.as_ref().is_err_and(denied)
}

fn list_operation(list_id: &ListId) -> Operation {
    if list_id.application_id.is_some() { Operation::GetSegments } else { Operation::GetApps }
}

fn target_operation(target: &Target) -> Operation {
    if target.segment_id.is_some() { Operation::GetSegmentExportJobs } else { Operation::GetExportJobs }
}

impl Caller {
    /// Whether STS denied access.
    fn is_access_denied(&self) -> bool {
        self.error.as_ref().is_some_and(|error| error.contains("AccessDenied"))
    }
}

impl ListCall {
    pub(super) fn new(list_id: &ListId, ids: &Result<List, Error>, survey: &Survey) -> Self {
        let ListId { account_id, region, application_id } = list_id;
        let target = application_id.as_ref().map_or("*".to_owned(), |application| format!("{application}/*"));
        let error = match ids {
            Ok(list) => left_out(list.left_out),
            Err(error) => Some(CallError::from(error)),
        };
        let call = Call {
            account: account_id.clone(),
            region: region.clone(),
            target,
            application: application_id.clone(),
            segment: None,
            application_name: application_id
                .as_ref()
                .and_then(|application| survey.name([account_id, region, application], None)),
            segment_name: None,
            operation: list_operation(list_id).name(),
            ok: error.is_none(),
            error,
        };
        Self { call, found: ids.as_ref().ok().map(|list| list.resources.len()) }
    }

    fn line(&self) -> Line<'_> {
        let what = if self.call.application.is_some() { "segment" } else { "application" };
        let found = self.found.map(|found| counted(found as u64, what));
        Line { call: &self.call, found }
    }
}

impl TargetCall {
    fn new(target: &Target, page: Result<FirstPage, Error>, survey: &Survey) -> Self {
        let error = match &page {
            Ok(page) => left_out(page.left_out),
            Err(error) => Some(CallError::from(error)),
        };
        let application = [&*target.account_id, &target.region, &target.application_id];
        let call = Call {
            account: target.account_id.clone(),
            region: target.region.clone(),
            target: target.to_string(),
            application: Some(target.application_id.clone()),
            segment: target.segment_id.clone(),
            application_name: survey.name(application, None),
            segment_name: target.segment_id.as_deref().and_then(|id| survey.name(application, Some(id))),
            operation: target_operation(target).name(),
            ok: error.is_none(),
            error,
        };
        let and_more = page.as_ref().is_ok_and(|page| !page.is_last);
        Self { call, jobs: page.ok().map(|page| page.jobs), and_more }
    }

    fn line(&self) -> Line<'_> {
        let more = if self.and_more { " and more" } else { "" };
        let found = self.jobs.map(|jobs| counted(jobs as u64, "job") + more);
        Line { call: &self.call, found }
    }
}

/// An error for a response that could only be read in part. The metrics count it in the same way.
fn left_out(SkippedParts { items, members }: SkippedParts) -> Option<CallError> {
    let parts = [(items, "item"), (members, "field")].into_iter().filter(|(count, _)| *count > 0);
    let parts: Vec<_> = parts.map(|(count, one)| counted(count, one)).collect();
    (!parts.is_empty()).then(|| CallError {
        exception: Exception::InvalidResponse,
        message: format!(
            "parts of the answer could not be understood and are left out: {}",
            parts.join(", ")
        ),
        request_id: None,
    })
}

/// A call, for printing.
struct Line<'a> {
    call: &'a Call,
    /// The number of items in the response, if it could be read.
    found: Option<String>,
}

impl Line<'_> {
    fn result(&self) -> String {
        match (&self.found, self.call.ok) {
            (Some(found), true) => format!("ok, {found}"),
            (Some(found), false) => format!("partly readable, {found}"),
            (None, _) => "failed".to_owned(),
        }
    }
}

/// The failed calls of lists, for `plan`.
pub(super) struct FailedLists<'a>(pub(super) &'a [ListCall]);

impl fmt::Display for FailedLists<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_calls(f, self.0.iter().map(ListCall::line).collect(), &[])
    }
}

/// Writes calls grouped by account, region and application. Each call has one line, followed by its error if it failed. `told`
/// are the callers whose missing credentials the report has already named.
fn write_calls(f: &mut fmt::Formatter<'_>, mut lines: Vec<Line<'_>>, told: &[Caller]) -> fmt::Result {
    const MAX_WIDTH: usize = 34;
    let heading = |call: &Call| match call.account.as_str() {
        "" => format!("Region {}", call.region),
        account => format!("Account {account}, region {}", call.region),
    };
    // The sort is stable, so a list stays before the resources that it names.
    lines.sort_by(|one, other| {
        let key = |line: &Line<'_>| {
            (line.call.account.clone(), line.call.region.clone(), line.call.application.clone())
        };
        key(one).cmp(&key(other))
    });
    let operations = lines.iter().map(|line| line.call.operation.len()).max().unwrap_or_default();
    let segments =
        lines.iter().filter_map(|line| Some(printable::line(line.call.segment.as_ref()?).chars().count()));
    let segments = segments.filter(|width| *width <= MAX_WIDTH).max().unwrap_or_default();
    let (mut last_region, mut last_application) = (None, None);
    let mut last_error = None;
    for line in &lines {
        let call = line.call;
        let here = Some((&call.account, &call.region));
        if last_region != here {
            writeln!(f, "{}{}", if last_region.is_some() { "\n" } else { "" }, heading(call))?;
            (last_region, last_application) = (here, None);
        }
        if last_application != Some(&call.application) {
            if let Some(application) = &call.application {
                let name = beside(call.application_name.as_deref(), application);
                writeln!(f, "  Application {}{name}", printable::line(application))?;
            }
            last_application = Some(&call.application);
        }
        let indent = if call.application.is_some() { 4 } else { 2 };
        let mut text = format!("{:indent$}{:operations$}", "", call.operation);
        if let Some(segment) = &call.segment {
            let name = beside(call.segment_name.as_deref(), segment);
            let segment = printable::line(segment);
            text.push_str(&format!("  {segment:segments$}{name}"));
        }
        let result = line.result();
        if text.chars().count() + 2 + result.len() > COLUMNS {
            writeln!(f, "{text}")?;
            text = " ".repeat(indent + 2) + &result;
        } else {
            text.push_str(&format!("  {result}"));
        }
        let Some(error) = &call.error else {
            writeln!(f, "{text}")?;
            continue;
        };
        let is_told = told.iter().any(|caller| caller.denied && caller.account == call.account);
        let cause = (error.exception, &error.message);
        if is_told && error.exception == Exception::CredentialsError {
            writeln!(f, "{text}")?;
            wrapped(f, indent + 2, &format!("{}, see the credentials", error.exception.name()))?;
        } else if last_error == Some(cause) {
            writeln!(f, "{text} as above")?;
        } else {
            writeln!(f, "{text}")?;
            wrapped(f, indent + 2, &printable::line(&error.to_string()))?;
        }
        last_error = Some(cause);
    }
    Ok(())
}

/// Returns a name to print after its id on the same line. A long name is truncated. A name equal to the id is left out.
fn beside(name: Option<&str>, id: &str) -> String {
    const MAX_WIDTH: usize = 40;
    let Some(name) = name.filter(|name| *name != id) else { return String::new() };
    let name = printable::line(name);
    match name.char_indices().nth(MAX_WIDTH) {
        None => format!("  {name}"),
        Some((end, _)) => format!("  {}…", &name[..end]),
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Credentials")?;
        for Caller { account, role_arn, identity, error, .. } in &self.identity {
            let whose = match (account.as_str(), role_arn) {
                ("", _) => "own".to_owned(),
                (account, None) => format!("account {account}"),
                (account, Some(role)) => format!("account {account}, role {role}"),
            };
            wrapped(f, 2, &whose)?;
            let caller = identity.as_ref().map(|caller| &caller.arn).or(error.as_ref());
            wrapped(f, 4, &printable::line(caller.map_or("", String::as_str)))?;
        }
        writeln!(f)?;
        let lines = self.lists.iter().map(ListCall::line).chain(self.targets.iter().map(TargetCall::line));
        write_calls(f, lines.collect(), &self.identity)?;
        writeln!(f)?;
        if let Some(policy) = &self.missing {
            let text = serde_json::to_string_pretty(policy).map_err(|_| fmt::Error)?;
            let heading = "Permissions are missing. This policy allows what was denied, and what could not be tried because \
                           of that:";
            wrapped(f, 0, heading)?;
            writeln!(f, "\n{}", printable_json(&text))?;
            if self.identity.iter().any(|caller| caller.denied && caller.role_arn.is_some()) {
                wrapped(
                    f,
                    0,
                    "The role's trust policy must name the caller too, and its external id if it asks for one. Run \
                     check again then: what the role may read could not be tried.",
                )?;
            }
            writeln!(f)?;
        }
        if !self.names.is_empty() {
            writeln!(f, "Names (NAMES=all), which no target needs")?;
            write_calls(f, self.names.iter().map(ListCall::line).collect(), &self.identity)?;
            writeln!(f)?;
        }
        if let Some(policy) = &self.missing_names {
            let text = serde_json::to_string_pretty(policy).map_err(|_| fmt::Error)?;
            let heading = "Some names cannot be read. The other metrics still work. This policy allows it; NAMES=discovered does \
                           without:";
            wrapped(f, 0, heading)?;
            writeln!(f, "\n{}\n", printable_json(&text))?;
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
