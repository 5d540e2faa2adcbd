//! An exporter of export jobs as it is usually written in Rust: the AWS SDK, prometheus-client and axum.
//! It reads the jobs when it is scraped, and keeps them for a time.

use std::{env, sync::Arc, time::Duration};

use anyhow::Context as _;
use aws_config::BehaviorVersion;
use aws_sdk_pinpoint::{Client, types::ExportJobResponse};
use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::{net::TcpListener, sync::Mutex, time::Instant};
use tower_http::compression::CompressionLayer;

const CONCURRENT_REQUESTS: usize = 16;
const STATUSES: [&str; 9] = [
    "CREATED",
    "PREPARING_FOR_INITIALIZATION",
    "INITIALIZING",
    "PROCESSING",
    "PENDING_JOB",
    "COMPLETING",
    "COMPLETED",
    "FAILING",
    "FAILED",
];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct JobLabels {
    aws_account_id: String,
    aws_region: String,
    application_id: String,
    segment_id: String,
    job_id: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StatusLabels {
    #[prometheus(flatten)]
    job: JobLabels,
    status: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct InfoLabels {
    #[prometheus(flatten)]
    job: JobLabels,
    job_type: String,
    segment_version: String,
    s3_url_prefix: String,
    role_arn: String,
}

struct Exporter {
    client: Client,
    region: String,
    targets: Vec<(String, String)>,
    cache_ttl: Duration,
    cache: Mutex<Option<(Instant, Arc<Registry>)>>,
}

impl Exporter {
    /// The cached metrics, or new ones if they are too old.
    async fn metrics(&self) -> anyhow::Result<Arc<Registry>> {
        let mut cache = self.cache.lock().await;
        if let Some((read_at, registry)) = &*cache
            && read_at.elapsed() < self.cache_ttl
        {
            return Ok(registry.clone());
        }
        let jobs: Vec<_> = stream::iter(self.targets.clone())
            .map(|(application, segment)| async move {
                let jobs = self.jobs(&application, &segment).await?;
                anyhow::Ok((application, segment, jobs))
            })
            .buffer_unordered(CONCURRENT_REQUESTS)
            .try_collect()
            .await?;
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        for (application, segment, jobs) in jobs {
            for job in jobs {
                metrics.set(&self.region, &application, &segment, &job);
            }
        }
        let registry = Arc::new(registry);
        *cache = Some((Instant::now(), registry.clone()));
        Ok(registry)
    }

    /// All export jobs of a segment.
    async fn jobs(&self, application: &str, segment: &str) -> anyhow::Result<Vec<ExportJobResponse>> {
        let (mut jobs, mut token) = (Vec::new(), None);
        loop {
            let request =
                self.client.get_segment_export_jobs().application_id(application).segment_id(segment);
            let page = request.page_size("100").set_token(token).send().await?;
            let page = page.export_jobs_response.context("no jobs in the response")?;
            jobs.extend(page.item.unwrap_or_default());
            token = page.next_token;
            if token.is_none() {
                return Ok(jobs);
            }
        }
    }
}

#[derive(Default)]
struct Metrics {
    pieces: Family<JobLabels, Gauge>,
    completed_pieces: Family<JobLabels, Gauge>,
    failed_pieces: Family<JobLabels, Gauge>,
    processed_endpoints: Family<JobLabels, Gauge>,
    failed_endpoints: Family<JobLabels, Gauge>,
    failure_samples: Family<JobLabels, Gauge>,
    created: Family<JobLabels, Gauge>,
    completed: Family<JobLabels, Gauge>,
    status: Family<StatusLabels, Gauge>,
    info: Family<InfoLabels, Gauge>,
}

impl Metrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("pinpoint_export_job");
        registry.register("pieces", "Pieces of the job", metrics.pieces.clone());
        registry.register("completed_pieces", "Completed pieces", metrics.completed_pieces.clone());
        registry.register("failed_pieces", "Failed pieces", metrics.failed_pieces.clone());
        registry.register("processed_endpoints", "Processed endpoints", metrics.processed_endpoints.clone());
        registry.register("failed_endpoints", "Failed endpoints", metrics.failed_endpoints.clone());
        registry.register("failure_samples", "Messages about failures", metrics.failure_samples.clone());
        registry.register("created_timestamp_seconds", "When it was created", metrics.created.clone());
        registry.register("completed_timestamp_seconds", "When it ended", metrics.completed.clone());
        registry.register("status", "State of the job, as a state set", metrics.status.clone());
        registry.register("info", "Type and definition of the job", metrics.info.clone());
        metrics
    }

    fn set(&self, region: &str, application: &str, segment: &str, job: &ExportJobResponse) {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let labels = JobLabels {
            aws_account_id: String::new(),
            aws_region: region.to_owned(),
            application_id: application.to_owned(),
            segment_id: segment.to_owned(),
            job_id: text(job.id()),
        };
        let seconds = |date: Option<&str>| {
            let format = aws_sdk_pinpoint::primitives::DateTimeFormat::DateTime;
            let date = aws_sdk_pinpoint::primitives::DateTime::from_str(date?, format).ok()?;
            Some(date.secs())
        };
        let gauges: [(&Family<JobLabels, Gauge>, Option<i64>); 8] = [
            (&self.pieces, job.total_pieces().map(i64::from)),
            (&self.completed_pieces, job.completed_pieces().map(i64::from)),
            (&self.failed_pieces, job.failed_pieces().map(i64::from)),
            (&self.processed_endpoints, job.total_processed().map(i64::from)),
            (&self.failed_endpoints, job.total_failures().map(i64::from)),
            (&self.failure_samples, i64::try_from(job.failures().len()).ok()),
            (&self.created, seconds(job.creation_date())),
            (&self.completed, seconds(job.completion_date())),
        ];
        for (family, value) in gauges {
            if let Some(value) = value {
                family.get_or_create(&labels).set(value);
            }
        }
        let current = job.job_status().map(|status| status.as_str());
        for status in STATUSES {
            let labels = StatusLabels { job: labels.clone(), status: status.to_owned() };
            self.status.get_or_create(&labels).set(i64::from(current == Some(status)));
        }
        let definition = job.definition();
        let labels = InfoLabels {
            job: labels,
            job_type: text(job.r#type()),
            segment_version: definition
                .and_then(|it| it.segment_version())
                .map(|version| version.to_string())
                .unwrap_or_default(),
            s3_url_prefix: text(definition.and_then(|it| it.s3_url_prefix())),
            role_arn: text(definition.and_then(|it| it.role_arn())),
        };
        self.info.get_or_create(&labels).set(1);
    }
}

async fn metrics(State(exporter): State<Arc<Exporter>>) -> Result<impl IntoResponse, (StatusCode, String)> {
    let fail = |error: anyhow::Error| (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n"));
    let registry = exporter.metrics().await.map_err(fail)?;
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|error| fail(error.into()))?;
    Ok(([("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let variable =
        |name: &str| env::var(format!("PINPOINT_EXPORTER_{name}")).with_context(|| name.to_owned());
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let targets = variable("TARGETS")?;
    let targets = targets.split_whitespace().filter_map(|target| target.split_once('/'));
    let seconds = variable("CACHE_TTL")?.trim_end_matches('s').parse()?;
    let exporter = Exporter {
        region: config.region().context("no region")?.to_string(),
        client: Client::new(&config),
        targets: targets.map(|(application, segment)| (application.to_owned(), segment.to_owned())).collect(),
        cache_ttl: Duration::from_secs(seconds),
        cache: Mutex::new(None),
    };
    let router = Router::new()
        .route("/metrics", get(metrics))
        .layer(CompressionLayer::new())
        .with_state(Arc::new(exporter));
    let listener = TcpListener::bind(variable("LISTEN_ADDRESS")?).await?;
    axum::serve(listener, router).await?;
    Ok(())
}
