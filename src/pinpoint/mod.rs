//! The client of Amazon Pinpoint, API version 2016-12-01. Each operation is one method, which reads the whole listing.

mod clock_skew;
mod credentials;
mod date;
mod endpoint;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod intermediary;
mod json;
mod operation;
mod page;
mod queue;
mod rate_limit;
mod retry;
mod secrets;
mod send;
mod sign;
mod transport;
mod trust;
mod wire;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use http::HeaderMap;
use humantime::format_duration;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

pub use self::{
    credentials::{
        cache::{CredentialsCache, Fetch, Owner, Source, prefetch},
        chain::ProviderChain,
        process::{ProcessCleanup, reap_orphans},
        source::{assumed_role, default_chain, shared},
        sts::{Identity, Sts},
    },
    endpoint::{aws_endpoint, partition_name},
    error::{AttemptError, Class, Error, RetryAfter},
    operation::Operation,
    queue::{Permit, Priority},
    send::{Http, SetupError},
    sign::signed_headers,
    trust::BundleError,
};

use self::{
    clock_skew::ClockSkew,
    operation::Listing,
    page::Pages,
    queue::RequestQueue,
    rate_limit::RateLimit,
    retry::{Budget, Policy, Quota},
    secrets::{Secrets, one_line},
    transport::origin,
    wire::Page,
};
use crate::model::{
    clock::Clock,
    exception::Exception,
    job::ExportJob,
    names::{NamedResource, TagLabels},
};

/// Receives the events that the client's metrics count.
pub trait Observer: Send + Sync + 'static {
    /// An attempt is sent. `retry` is `false` for the first attempt of a request.
    fn attempt(&self, operation: Operation, retry: bool);
    /// An attempt ended, with or without success.
    fn attempt_ended(&self, operation: Operation, duration: Duration);
    /// An attempt failed, its response was rejected or only partly usable, or it had no credentials.
    fn error(&self, operation: Operation, exception: Exception);
    /// Items of a response could not be parsed.
    fn skipped_items(&self, operation: Operation, items: u64);
    /// A request has waited for the rate limit.
    fn rate_limit_wait(&self, duration: Duration);
    /// AWS's clock minus the local clock.
    fn clock_skew(&self, seconds: f64);
}

#[derive(Debug, Clone)]
pub struct Settings {
    /// The region of the API. Signatures contain it.
    pub region: String,
    pub endpoint: Url,
    /// The number of items to request per page.
    pub page_size: u32,
    /// The maximum number of pages of a listing.
    pub max_pages: u32,
    /// The maximum number of concurrent requests.
    pub max_concurrent_requests: usize,
    /// The maximum number of requests per second. `None` means no limit.
    pub max_requests_per_second: Option<u32>,
    /// The time limit of one attempt.
    pub request_timeout: Duration,
    /// The time limit of a listing, counted from its first attempt.
    pub refresh_timeout: Duration,
    /// The maximum number of attempts of a request, including the first.
    pub max_attempts: u32,
    /// The tags of applications and segments to read. `None` reads neither tags nor names.
    pub tags: Option<Arc<TagLabels>>,
    /// Whether to read the messages about failed endpoints. Otherwise they are only counted.
    pub failures: bool,
    /// Returns uniform random numbers in `0.0..1.0` for the jitter of retries.
    pub random: fn() -> f64,
}

/// Receives the jobs of a listing one by one.
pub type Sink<'a> = dyn FnMut(ExportJob) + Send + 'a;

/// Parses the body of a page.
type Decode<'a> = dyn FnMut(&[u8]) -> Result<Page, serde_json::Error> + Send + 'a;

/// The parts of a listing that could not be parsed and were left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SkippedParts {
    /// Items that are not an object or have no usable `Id`.
    pub items: u64,
    /// Members of a wrong type, and dates that cannot be parsed.
    pub members: u64,
}

/// The result of reading a listing, without its items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Read {
    pub pages: u32,
    pub left_out: SkippedParts,
}

/// The result of reading the first page of a listing of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstPage {
    /// The number of jobs on it that could be parsed.
    pub jobs: usize,
    /// Whether the listing has no further page.
    pub is_last: bool,
    pub left_out: SkippedParts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Whole,
    FirstPage,
}

/// The progress of reading a listing.
struct Reading {
    pages: Pages,
    budget: Budget,
    permit: Permit,
}

/// Measures a wait for the rate limit. It reports the wait when dropped, so a cancelled wait counts too.
struct RateLimitWait<'a> {
    began: Instant,
    observer: &'a dyn Observer,
}

/// Waits for a token of the rate limit, and reports the wait.
async fn acquire_rate_limit(bucket: &RateLimit, observer: &dyn Observer) {
    let _counted = RateLimitWait { began: Instant::now(), observer };
    bucket.acquire().await;
}

impl Drop for RateLimitWait<'_> {
    fn drop(&mut self) {
        self.observer.rate_limit_wait(self.began.elapsed());
    }
}

/// A client of the API in one region, with one set of credentials.
pub struct Client {
    settings: Settings,
    http: Http,
    credentials: Arc<CredentialsCache>,
    queue: Arc<RequestQueue>,
    rate_limit: Option<RateLimit>,
    policy: Policy,
    quota: Quota,
    skew: ClockSkew,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
}

/// The clients by account and region.
pub type Clients = BTreeMap<(String, String), Arc<Client>>;

impl Client {
    /// Creates a client. Each listing has at most one request under way, and each request needs a [`Permit`].
    pub fn new(
        settings: Settings,
        http: Http,
        credentials: Arc<CredentialsCache>,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self {
            credentials,
            queue: Arc::new(RequestQueue::new(settings.max_concurrent_requests)),
            rate_limit: settings.max_requests_per_second.map(RateLimit::new),
            policy: Policy { max_attempts: settings.max_attempts, random: settings.random },
            quota: Quota::default(),
            skew: ClockSkew::default(),
            http,
            settings,
            clock,
            observer,
        }
    }

    /// Adds a listing to the queue of requests. No permit is granted before [`Client::grant_free_permits`], so everything that
    /// is due can join first.
    pub fn join(&self, turn: Priority) -> Permit {
        self.queue.join(turn)
    }

    /// Grants the free permits in order of priority.
    pub fn grant_free_permits(&self) {
        self.queue.grant_free_permits();
    }

    /// Joins the queue with the highest priority, and hands out the free permits.
    pub fn permit(&self) -> Permit {
        let permit = self.join(Priority::list(Duration::ZERO));
        self.grant_free_permits();
        permit
    }

    /// `GetSegmentExportJobs`: reads every export job of a segment.
    ///
    /// After an error, `sink` has received only part of the listing.
    pub async fn segment_export_jobs(
        &self,
        application_id: &str,
        segment_id: &str,
        permit: Permit,
        sink: &mut Sink<'_>,
    ) -> Result<Read, Error> {
        let listing = Listing::segment_export_jobs(application_id, segment_id);
        Ok(self.read_jobs(listing, Some(segment_id), Extent::Whole, permit, sink).await?.0)
    }

    /// `GetExportJobs`: reads every export job of an application. After an error, `sink` has received only part of the listing.
    pub async fn export_jobs(
        &self,
        application_id: &str,
        permit: Permit,
        sink: &mut Sink<'_>,
    ) -> Result<Read, Error> {
        let listing = Listing::export_jobs(application_id);
        Ok(self.read_jobs(listing, None, Extent::Whole, permit, sink).await?.0)
    }

    /// Reads only the first page of a segment's jobs, or of the application's jobs without `segment_id`.
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
        let mut sink = |_: ExportJob| jobs += 1;
        let permit = self.permit();
        let (read, is_last) =
            self.read_jobs(listing, segment_id, Extent::FirstPage, permit, &mut sink).await?;
        Ok(FirstPage { jobs, is_last, left_out: read.left_out })
    }

    /// `GetSegments`: reads the segments of an application, including imported ones, sorted by id.
    pub async fn segments(
        &self,
        application_id: &str,
        permit: Permit,
    ) -> Result<(Vec<NamedResource>, SkippedParts), Error> {
        self.read_resources(Listing::segments(application_id), permit).await
    }

    /// `GetApps`: reads the applications of the region, sorted by id.
    pub async fn applications(&self, permit: Permit) -> Result<(Vec<NamedResource>, SkippedParts), Error> {
        self.read_resources(Listing::applications(), permit).await
    }

    async fn read_resources(
        &self,
        listing: Listing,
        permit: Permit,
    ) -> Result<(Vec<NamedResource>, SkippedParts), Error> {
        let mut resources = BTreeMap::new();
        let mut sink = |resource: NamedResource| _ = resources.insert(resource.id.clone(), resource);
        let tags = self.settings.tags.as_deref();
        let mut decode = |body: &[u8]| wire::resources(body, tags, &mut sink);
        let (read, _) = self.read(listing, Extent::Whole, permit, &mut decode).await?;
        Ok((resources.into_values().collect(), read.left_out))
    }

    async fn read_jobs(
        &self,
        listing: Listing,
        segment_id: Option<&str>,
        reach: Extent,
        permit: Permit,
        sink: &mut Sink<'_>,
    ) -> Result<(Read, bool), Error> {
        let (segment, failures) = (segment_id.map(Arc::from), self.settings.failures);
        let mut decode = |body: &[u8]| wire::export_jobs(body, segment.as_ref(), failures, sink);
        self.read(listing, reach, permit, &mut decode).await
    }

    /// Reads a listing. Also returns whether that was all of it.
    async fn read(
        &self,
        listing: Listing,
        reach: Extent,
        permit: Permit,
        decode: &mut Decode<'_>,
    ) -> Result<(Read, bool), Error> {
        let mut read = Read::default();
        let pages = Pages::up_to(self.settings.max_pages);
        let budget = Budget::new(self.settings.refresh_timeout);
        let mut reading = Reading { pages, budget, permit };
        let mut token = None;
        let failed =
            |failure| Error { operation: listing.operation, resource: listing.resource.clone(), failure };
        loop {
            let url = listing
                .url(&self.settings.endpoint, self.settings.page_size, token.as_deref())
                .map_err(|error| failed(AttemptError::new(Exception::Other, error.to_string())))?;
            let mut attempts = self.policy.attempts(&self.quota);
            let page = loop {
                let number = attempts.number;
                match self.attempt(listing.operation, decode, url.clone(), number, &mut reading).await {
                    Ok(page) => break page,
                    Err(failure) => {
                        reading.permit.release();
                        if failure.class != Class::ExpiredCredentials {
                            reading.permit.lower_priority(self.clock.elapsed());
                        }
                        attempts.failed(failure, &reading.budget).await.map_err(failed)?;
                    }
                }
            };
            attempts.succeeded();
            read.pages += 1;
            read.left_out.items += page.skipped;
            read.left_out.members += page.bad_members;
            token = page.next_token;
            if token.is_none() || reach == Extent::FirstPage {
                return Ok((read, token.is_none()));
            }
            reading.permit.request();
        }
    }

    /// Makes one attempt at one page: waits for a permit, credentials and the rate limit, then sends the request.
    async fn attempt(
        &self,
        operation: Operation,
        decode: &mut Decode<'_>,
        url: Url,
        number: u32,
        Reading { pages, budget, permit }: &mut Reading,
    ) -> Result<Page, AttemptError> {
        let out_of_time = || {
            let limit = format_duration(self.settings.refresh_timeout);
            let cure = "raise PINPOINT_EXPORTER_REFRESH_TIMEOUT or PINPOINT_EXPORTER_MAX_REQUESTS_PER_SECOND";
            AttemptError::new(
                Exception::Timeout,
                format!("the listing could not be read completely within {limit}; {cure}"),
            )
        };
        let credentials = || async {
            timeout_at(budget.deadline(), self.credentials.get())
                .await
                .map_err(|_elapsed| out_of_time())?
                .inspect_err(|failure| self.observer.error(operation, failure.exception))
        };
        timeout_at(budget.deadline(), permit.granted()).await.map_err(|_elapsed| out_of_time())?;
        let mut issued = credentials().await?;
        if let Some(bucket) = self.rate_limit.as_ref().filter(|bucket| !bucket.take()) {
            let turn = acquire_rate_limit(bucket, &*self.observer);
            timeout_at(budget.deadline(), turn).await.map_err(|_elapsed| out_of_time())?;
            // The credentials can expire during the wait.
            issued = credentials().await?;
        }
        let left = budget.start_attempt();
        if left.is_zero() {
            return Err(out_of_time());
        }
        let now = self.clock.now();
        let dates = Dates { ours: now, signed: self.skew.corrected(now) };
        let headers = signed_headers(&url, &issued.credentials, &self.settings.region, dates.signed)
            .map_err(|error| Secrets::of(&issued.credentials).show(&error.to_string()))
            .map_err(|error| AttemptError::new(Exception::CredentialsError, error))
            .inspect_err(|failure| self.observer.error(operation, failure.exception))?;
        self.observer.attempt(operation, number > 1);
        let started = Instant::now();
        let limit = self.settings.request_timeout.min(left);
        let result =
            match timeout(limit, self.exchange(&issued.credentials, decode, url, headers, dates)).await {
                Ok(result) => result,
                Err(_elapsed) => {
                    let origin = origin(&self.settings.endpoint);
                    let limit = format_duration(limit);
                    let message = format!(
                        "{origin} gave no complete answer within {limit}; check the network, or raise \
                         PINPOINT_EXPORTER_REQUEST_TIMEOUT"
                    );
                    Err(AttemptError {
                        is_from_intermediary: true,
                        ..AttemptError::new(Exception::Timeout, message)
                    })
                }
            };
        self.observer.attempt_ended(operation, started.elapsed());
        let result = result.and_then(|page| match pages.fetched(page.next_token.as_deref()) {
            Ok(()) => Ok(page),
            Err(endless) => Err(AttemptError::new(Exception::InvalidResponse, endless.to_string())),
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
                // AWS would refuse the same credentials again.
                let class = if replaced.unwrap_or(false) { failure.class } else { Class::Final };
                Err(AttemptError { class, ..failure })
            }
            result => result,
        }
    }

    /// Sends a signed request and reads the response.
    async fn exchange(
        &self,
        credentials: &Credentials,
        decode: &mut Decode<'_>,
        url: Url,
        headers: HeaderMap,
        dates: Dates,
    ) -> Result<Page, AttemptError> {
        let started = Instant::now();
        let secrets = Secrets::of(credentials);
        let answer = self.http.get(url.clone(), headers).await?;
        self.update_clock_skew(&answer, dates.ours, started.elapsed());
        let failure = if (200..300).contains(&answer.status) {
            match decode(&answer.body) {
                Ok(page) => return Ok(page),
                Err(error) => AttemptError::unreadable(answer.status, &error.to_string(), &secrets),
            }
        } else {
            AttemptError::of_answer(answer.status, answer.header("x-amzn-errortype"), &answer.body, &secrets)
        };
        let failure = match intermediary::describe(&answer, &url, &secrets) {
            Some(message) => {
                AttemptError { message: one_line(&message), is_from_intermediary: true, ..failure }
            }
            None => failure,
        };
        let late =
            failure.exception.may_be_clock_skew() && self.skew.explains(dates.signed, self.clock.now());
        Err(AttemptError {
            class: if late { Class::ClockSkew } else { failure.class },
            request_id: answer
                .header("x-amzn-requestid")
                .map(|id| id.shown(&secrets, MAX_REQUEST_ID_CHARACTERS)),
            // Dates in the response are by AWS's clock.
            retry_after: retry_after(&answer, self.skew.corrected(self.clock.now())),
            ..failure
        })
    }

    fn update_clock_skew(&self, answer: &send::HttpResponse, sent: SystemTime, round_trip: Duration) {
        // The `Date` of a cached response says nothing about AWS's clock.
        if let (Some(date), None) = (answer.header("date"), answer.header("age"))
            && let Some(seconds) = self.skew.learn(date.unmasked(), sent, round_trip)
        {
            self.observer.clock_skew(seconds);
        }
    }
}

/// The time of a request by the local clock, and the corrected time in its signature.
#[derive(Debug, Clone, Copy)]
struct Dates {
    ours: SystemTime,
    signed: SystemTime,
}

/// A longer `x-amzn-RequestId` is truncated. AWS's have 36 characters.
const MAX_REQUEST_ID_CHARACTERS: usize = 100;

/// Longer waits are reduced to this. It already exceeds every budget.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

/// The waits that a response asks for. Headers that cannot be parsed are ignored.
fn retry_after(answer: &send::HttpResponse, now: SystemTime) -> RetryAfter {
    let header = |name| answer.header(name).map(|value| value.unmasked().trim());
    let amz = header("x-amz-retry-after").and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
    let http = header("retry-after").and_then(|value| {
        let seconds = value.parse().ok().map(Duration::from_secs);
        let date = || httpdate::parse_http_date(value).ok()?.duration_since(now).ok();
        seconds.or_else(date)
    });
    let bounded = |wait: Option<Duration>| wait.map(|wait| wait.min(MAX_RETRY_AFTER));
    RetryAfter { amz: bounded(amz), http: bounded(http) }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Records the waits for the rate limit.
    #[derive(Default)]
    struct Waits(Mutex<Vec<Duration>>);

    impl Observer for Waits {
        fn attempt(&self, _: Operation, _: bool) {}
        fn attempt_ended(&self, _: Operation, _: Duration) {}
        fn error(&self, _: Operation, _: Exception) {}
        fn skipped_items(&self, _: Operation, _: u64) {}
        fn rate_limit_wait(&self, duration: Duration) {
            self.0.lock().unwrap().push(duration);
        }
        fn clock_skew(&self, _: f64) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_the_rate_limit_is_counted_also_when_it_is_cut_off() {
        let (bucket, waits) = (RateLimit::new(1), Waits::default());
        assert!(bucket.take());
        let cut_off = Duration::from_millis(300);
        assert!(timeout(cut_off, acquire_rate_limit(&bucket, &waits)).await.is_err());
        acquire_rate_limit(&bucket, &waits).await;
        assert_eq!(*waits.0.lock().unwrap(), [cut_off, Duration::from_millis(700)]);
    }
}
