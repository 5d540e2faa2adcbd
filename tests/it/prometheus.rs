//! A real Prometheus scrapes the exporter over the whole life of a job.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

use fake_pinpoint::{
    HANG_LIMIT,
    world::{End, Life},
};
use serde_json::Value;
use tempfile::TempDir;
use url::Url;

use crate::support::{
    harness::{APP, Harness, Plan, SEGMENT, client, run},
    ports::free_address,
};

/// A Prometheus of this machine, which scrapes one target five times a second.
struct Prometheus {
    process: Child,
    url: String,
    client: reqwest::Client,
    _folder: TempDir,
}

impl Prometheus {
    fn scraping(harness: &Harness) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("prometheus.yml");
        let target = harness.url.trim_start_matches("http://");
        let text = format!(
            "scrape_configs:\n- job_name: pinpoint\n  scrape_interval: 200ms\n  scrape_timeout: 200ms\n  \
             static_configs:\n  - targets: [\"{target}\"]\n"
        );
        fs::write(&config, text).unwrap();
        let free = free_address().unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={free}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("`make tools` installs prometheus, which this test needs");
        Self { process, url: format!("http://{free}"), client: client(), _folder: folder }
    }

    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Option<Vec<Value>> {
        let mut url = Url::parse(&format!("{}/api/v1/{path}", self.url)).unwrap();
        url.query_pairs_mut().extend_pairs(parameters);
        let answer = self.client.get(url).send().await.ok()?.text().await.ok()?;
        let answer: Value = serde_json::from_str(&answer).ok()?;
        answer["data"]["result"].as_array().cloned()
    }

    /// Waits until a query's result is as wanted.
    async fn until(&self, query: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        loop {
            if let Some(result) = self.ask("query", &[("query", query)]).await
                && wanted(&result)
            {
                return result;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What a query gave since the test began, looked at more often than Prometheus scrapes.
    async fn history(&self, query: &str) -> Vec<Value> {
        // A scalar is [time, value].
        let now = self.ask("query", &[("query", "time()")]).await.unwrap();
        let end = now[0].as_f64().unwrap();
        let (start, end) = (format!("{:.3}", end - (2 * HANG_LIMIT).as_secs_f64()), format!("{end:.3}"));
        let parameters = [("query", query), ("start", &start), ("end", &end), ("step", "0.05")];
        self.ask("query_range", &parameters).await.unwrap()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_real_prometheus_sees_each_state_of_a_job_in_turn_one_at_a_time_and_nothing_after_it_aged_out() {
    for (end, last_two) in
        [(End::Completed, ["COMPLETING", "COMPLETED"]), (End::Failed, ["FAILING", "FAILED"])]
    {
        run(async move {
            let harness = Plan::new()
                .set("CACHE_TTL", "0s")
                .world(|world| {
                    // Created at 0 and done at 1000 s: its state follows the thousandth that has passed.
                    let mut life = Life::new("job", 0, 1_000_000);
                    life.end = end;
                    world.segment(APP, SEGMENT).jobs.push(life.into());
                })
                .at(0)
                .build()
                .await;
            let prometheus = Prometheus::scraping(&harness);
            let mut age = 0;
            for (second, status) in [
                (10, "CREATED"),
                (30, "PREPARING_FOR_INITIALIZATION"),
                (70, "INITIALIZING"),
                (110, "PENDING_JOB"),
                (500, "PROCESSING"),
                (950, last_two[0]),
                (1_000, last_two[1]),
            ] {
                harness.turn(Duration::from_secs(second - age));
                age = second;
                let states = prometheus
                    .until("pinpoint_export_job_status == 1", |result| {
                        result.iter().any(|series| series["metric"]["status"] == status)
                    })
                    .await;
                assert_eq!(states.len(), 1, "{states:?}");
            }
            // One at 1 at every instant of the whole life.
            let sums = prometheus.history("sum by (job_id) (pinpoint_export_job_status)").await;
            assert_eq!(sums.len(), 1);
            let values = sums[0]["values"].as_array().unwrap();
            assert!(values.len() >= 7, "{} instants", values.len());
            assert!(values.iter().all(|value| value[1] == "1"), "{values:?}");
            // Each state was there, in its turn.
            let changes = prometheus.history("max by (status) (pinpoint_export_job_status == 1)").await;
            assert_eq!(changes.len(), 7, "{changes:?}");

            harness.turn(Duration::from_hours(7 * 24));
            let still = prometheus.until("pinpoint_export_job_info", |result| !result.is_empty()).await;
            assert_eq!(still.len(), 1, "as old as the limit is within it");
            harness.turn(Duration::from_secs(1));
            prometheus.until("{__name__=~\"pinpoint_export_job_.+\"}", <[Value]>::is_empty).await;
            let query = "pinpoint_segment_suppressed_export_jobs{reason=\"age\"} == 1";
            assert_eq!(prometheus.until(query, |result| !result.is_empty()).await.len(), 1);
            harness.close().await;
        });
    }
}
