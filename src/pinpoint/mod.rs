//! The client of Amazon Pinpoint, API version 2016-12-01: one method per operation, which reads the whole listing.

mod credentials;
mod endpoint;
mod error;
mod expiration;
#[doc(hidden)]
pub mod fuzzing;
mod limit;
mod operation;
mod page;
mod provider_error;
mod provider_http;
mod retry;
mod secrets;
mod send;
mod sign;
mod skew;
mod source;
mod wire;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use http::HeaderMap;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

pub use self::{
    credentials::{CredentialsCache, Look, Owner, Source, look_ahead},
    endpoint::{aws_endpoint, partition_name},
    error::{Class, Error, Exception, Failure, RetryAfter},
    operation::Operation,
    send::{Http, SetupError},
    sign::signed_headers,
    source::{Identity, assumed_role, default_chain, shared},
};
use self::{
    error::one_line,
    limit::Bucket,
    operation::Listing,
    page::Pages,
    retry::{Budget, Policy, Quota},
    secrets::Secrets,
    skew::Skew,
    wire::Page,
};
use crate::{clock::Clock, job::ExportJob};

/// Who wants to know what the client does: its counters.
pub trait Observer: Send + Sync + 'static {
    /// An attempt is sent; `retry` if it is not the first of its request.
    fn attempt(&self, operation: Operation, retry: bool);
    /// An attempt ended, well or not, after this time.
    fn attempt_ended(&self, operation: Operation, duration: Duration);
    /// An attempt failed, or its answer was refused or of use only in part; or there were no credentials for one.
    fn error(&self, operation: Operation, exception: Exception);
    /// Items of an answer that could not be understood.
    fn skipped_items(&self, operation: Operation, items: u64);
    /// A request waited for the rate limit.
    fn rate_limit_wait(&self, duration: Duration);
    /// AWS's clock less ours.
    fn clock_skew(&self, seconds: f64);
}

/// How the client behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The region of the API, which signatures name.
    pub region: String,
    /// The address of the API.
    pub endpoint: Url,
    /// The items of a page to ask for.
    pub page_size: u32,
    /// The most pages of a listing.
    pub max_pages: u32,
    /// The most requests a second; `None` for no limit.
    pub max_requests_per_second: Option<u32>,
    /// The longest an attempt may take.
    pub request_timeout: Duration,
    /// The longest a listing may take, from its first attempt.
    pub refresh_timeout: Duration,
    /// The most attempts of a request, the first included.
    pub max_attempts: u32,
    /// The jitter of retries: even numbers in `0.0..1.0`.
    pub random: fn() -> f64,
}

/// Where the jobs of a listing go, page by page.
pub type Sink<'a> = dyn FnMut(Vec<ExportJob>) + Send + 'a;

/// Reads the body of a page.
type Decode<'a, T> = dyn Fn(&[u8]) -> Result<Page<T>, serde_json::Error> + Sync + 'a;

/// What of a listing could not be understood, and was left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Items that are no object or have no `Id`.
    pub items: u64,
    /// Members of a wrong type, and dates that cannot be read.
    pub members: u64,
}

/// The beginning of a listing of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstPage {
    /// The jobs in it that could be understood.
    pub jobs: usize,
    /// Whether it is the whole listing.
    pub is_last: bool,
}

/// How far a listing is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Whole,
    FirstPage,
}

/// What was read of a listing, apart from its items.
struct Read {
    left_out: LeftOut,
    is_whole: bool,
}

/// A client of the API in one region, with one set of credentials.
pub struct Client {
    settings: Settings,
    http: Http,
    credentials: Arc<CredentialsCache>,
    rate_limit: Option<Bucket>,
    policy: Policy,
    quota: Quota,
    skew: Skew,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
}

impl Client {
    /// A client. How many of its listings are read at once, each with one request at a time, is the caller's business.
    pub fn new(
        settings: Settings,
        http: Http,
        credentials: Arc<CredentialsCache>,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self {
            credentials,
            rate_limit: settings.max_requests_per_second.map(Bucket::new),
            policy: Policy { max_attempts: settings.max_attempts, random: settings.random },
            quota: Quota::default(),
            skew: Skew::default(),
            http,
            settings,
            clock,
            observer,
        }
    }

    /// `GetSegmentExportJobs`: every export job of a segment.
    ///
    /// After an error the jobs that reached `sink` are part of a listing that was not read whole.
    pub async fn segment_export_jobs(
        &self,
        application_id: &str,
        segment_id: &str,
        sink: &mut Sink<'_>,
    ) -> Result<LeftOut, Error> {
        let listing = Listing::segment_export_jobs(application_id, segment_id);
        Ok(self.read_jobs(listing, Some(segment_id), Reach::Whole, sink).await?.left_out)
    }

    /// `GetExportJobs`: every export job of an application. An error means the same as above.
    pub async fn export_jobs(&self, application_id: &str, sink: &mut Sink<'_>) -> Result<LeftOut, Error> {
        let listing = Listing::export_jobs(application_id);
        Ok(self.read_jobs(listing, None, Reach::Whole, sink).await?.left_out)
    }

    /// The first page alone of one of the two: that of a segment, or without one that of the application.
    pub async fn first_page_of_jobs(
        &self,
        application_id: &str,
        segment_id: Option<&str>,
    ) -> Result<FirstPage, Error> {
        let listing = match segment_id {
            Some(segment_id) => Listing::segment_export_jobs(application_id, segment_id),
            None => Listing::export_jobs(application_id),
        };
        let mut jobs = 0;
        let mut sink = |page: Vec<ExportJob>| jobs += page.len();
        let is_last = self.read_jobs(listing, segment_id, Reach::FirstPage, &mut sink).await?.is_whole;
        Ok(FirstPage { jobs, is_last })
    }

    /// `GetSegments`: the ids of an application's segments, imported ones too.
    pub async fn segment_ids(&self, application_id: &str) -> Result<Vec<String>, Error> {
        self.read_ids(Listing::segments(application_id)).await
    }

    /// `GetApps`: the ids of the region's applications.
    pub async fn application_ids(&self) -> Result<Vec<String>, Error> {
        self.read_ids(Listing::applications()).await
    }

    async fn read_ids(&self, listing: Listing) -> Result<Vec<String>, Error> {
        let mut ids = Vec::new();
        self.read(listing, Reach::Whole, &wire::ids, &mut |page| ids.extend(page)).await?;
        Ok(ids)
    }

    async fn read_jobs(
        &self,
        listing: Listing,
        segment_id: Option<&str>,
        reach: Reach,
        sink: &mut Sink<'_>,
    ) -> Result<Read, Error> {
        let segment = segment_id.map(Arc::from);
        self.read(listing, reach, &|body: &[u8]| wire::export_jobs(body, segment.as_ref()), sink).await
    }

    async fn read<T: Send>(
        &self,
        listing: Listing,
        reach: Reach,
        decode: &Decode<'_, T>,
        sink: &mut (dyn FnMut(Vec<T>) + Send),
    ) -> Result<Read, Error> {
        let mut left_out = LeftOut::default();
        let mut pages = Pages::up_to(self.settings.max_pages);
        let mut budget = Budget::new(self.settings.refresh_timeout);
        let mut token = None;
        loop {
            let url = listing.url(&self.settings.endpoint, self.settings.page_size, token.as_deref());
            let mut attempts = self.policy.attempts(&self.quota);
            let page = loop {
                let number = attempts.number;
                match self
                    .attempt(listing.operation, decode, url.clone(), &mut pages, number, &mut budget)
                    .await
                {
                    Ok(page) => break page,
                    Err(failure) => attempts.failed(failure, &budget).await.map_err(|failure| Error {
                        operation: listing.operation,
                        resource: listing.resource.clone(),
                        failure,
                    })?,
                }
            };
            attempts.succeeded();
            left_out.items += page.skipped;
            left_out.members += page.bad_members;
            sink(page.items);
            token = page.next_token;
            if token.is_none() || reach == Reach::FirstPage {
                return Ok(Read { left_out, is_whole: token.is_none() });
            }
        }
    }

    /// One attempt at one page: credentials, its turn, the request, the answer.
    async fn attempt<T>(
        &self,
        operation: Operation,
        decode: &Decode<'_, T>,
        url: Url,
        pages: &mut Pages,
        number: u32,
        budget: &mut Budget,
    ) -> Result<Page<T>, Failure> {
        let out_of_time = || {
            let limit = self.settings.refresh_timeout;
            Failure::new(Exception::Timeout, format!("the listing was not read whole within {limit:?}"))
        };
        let credentials = || async {
            timeout_at(budget.deadline(), self.credentials.get())
                .await
                .map_err(|_elapsed| out_of_time())?
                .inspect_err(|failure| self.observer.error(operation, failure.exception))
        };
        let mut issued = credentials().await?;
        if let Some(bucket) = &self.rate_limit {
            let wait =
                timeout_at(budget.deadline(), bucket.turn()).await.map_err(|_elapsed| out_of_time())?;
            if !wait.is_zero() {
                self.observer.rate_limit_wait(wait);
                // They may have expired meanwhile.
                issued = credentials().await?;
            }
        }
        let left = budget.start_attempt();
        if left.is_zero() {
            return Err(out_of_time());
        }
        let now = self.clock.now();
        let dates = Dates { ours: now, signed: self.skew.corrected(now) };
        let headers = signed_headers(&url, &issued.credentials, &self.settings.region, dates.signed)
            .map_err(|error| Secrets::of(&issued.credentials).mask(error.to_string()))
            .map_err(|error| Failure::new(Exception::CredentialsError, error))
            .inspect_err(|failure| self.observer.error(operation, failure.exception))?;
        self.observer.attempt(operation, number > 1);
        let started = Instant::now();
        let limit = self.settings.request_timeout.min(left);
        let result =
            match timeout(limit, self.exchange(&issued.credentials, decode, url, headers, dates)).await {
                Ok(result) => result,
                Err(_elapsed) => {
                    Err(Failure::new(Exception::Timeout, format!("no whole answer within {limit:?}")))
                }
            };
        self.observer.attempt_ended(operation, started.elapsed());
        let result = result.and_then(|page| match pages.fetched(page.next_token.as_deref()) {
            Ok(()) => Ok(page),
            Err(endless) => Err(Failure::new(Exception::InvalidResponse, endless.to_string())),
        });
        match &result {
            Ok(page) if !page.is_clean() => {
                self.observer.error(operation, Exception::InvalidResponse);
                self.observer.skipped_items(operation, page.skipped);
            }
            Ok(_) => {}
            Err(failure) => self.observer.error(operation, failure.exception),
        }
        match result {
            Err(failure) if failure.class == Class::ExpiredCredentials => {
                let replaced = timeout_at(budget.deadline(), self.credentials.replaced(&issued)).await;
                // With the same credentials it would be refused again.
                let class = if replaced.unwrap_or(false) { failure.class } else { Class::Final };
                Err(Failure { class, ..failure })
            }
            result => result,
        }
    }

    /// Sends a signed request and reads the answer.
    async fn exchange<T>(
        &self,
        credentials: &Credentials,
        decode: &Decode<'_, T>,
        url: Url,
        headers: HeaderMap,
        dates: Dates,
    ) -> Result<Page<T>, Failure> {
        let started = Instant::now();
        let secrets = || Secrets::of(credentials);
        let answer = self.http.get(url, headers).await?;
        self.learn_the_date(&answer, dates.ours, started.elapsed());
        let failure = if (200..300).contains(&answer.status) {
            match decode(&answer.body) {
                Ok(page) => return Ok(page),
                Err(error) => Failure::unreadable(answer.status, &error.to_string(), &secrets()),
            }
        } else {
            Failure::of_answer(answer.status, answer.header("x-amzn-errortype"), &answer.body, &secrets())
        };
        let late =
            failure.exception.may_be_clock_skew() && self.skew.explains(dates.signed, self.clock.now());
        Err(Failure {
            class: if late { Class::ClockSkew } else { failure.class },
            request_id: answer.header("x-amzn-requestid").map(|id| one_line(&secrets().mask(id.to_owned()))),
            retry_after: retry_after(&answer, self.clock.now()),
            ..failure
        })
    }

    fn learn_the_date(&self, answer: &send::Answer, sent: SystemTime, round_trip: Duration) {
        // A cache's date says nothing about AWS's clock.
        if let (Some(date), None) = (answer.header("date"), answer.header("age"))
            && let Some(seconds) = self.skew.learn(date, sent, round_trip)
        {
            self.observer.clock_skew(seconds);
        }
    }
}

/// When a request was sent: by our clock, and as its signature has it.
#[derive(Debug, Clone, Copy)]
struct Dates {
    ours: SystemTime,
    signed: SystemTime,
}

/// No answer asks for a longer wait, as far as this client can tell: it is beyond any budget.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// The waits that an answer asks for; what cannot be read asks for none.
fn retry_after(answer: &send::Answer, now: SystemTime) -> RetryAfter {
    let amz =
        answer.header("x-amz-retry-after").and_then(|ms| ms.trim().parse().ok()).map(Duration::from_millis);
    let http = answer.header("retry-after").map(str::trim).and_then(|value| {
        let seconds = value.parse().ok().map(Duration::from_secs);
        let date = || httpdate::parse_http_date(value).ok()?.duration_since(now).ok();
        seconds.or_else(date)
    });
    let bounded = |wait: Option<Duration>| wait.map(|wait| wait.min(LONGEST_WAIT));
    RetryAfter { amz: bounded(amz), http: bounded(http) }
}
