//! Checks every response of the exporter against what really happened.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    client::Answer,
    credentials::SECRETS,
    lock,
    model::{self, Bounds, Key, Series, WITHOUT_ANSWER},
    recorder::{Listings, Outcome, Recorder},
    schedule::CHANGING,
    starvation::{Starvation, milliseconds},
    text_format::{self, Sample, Scrape},
    world::{self, Target},
};

const REQUESTS: &str = "pinpoint_api_requests_total";
const ERRORS: &str = "pinpoint_api_errors_total";
const RETRIES: &str = "pinpoint_api_retries_total";
const ENDED: &str = "pinpoint_api_request_duration_seconds_count";
const LOOKUPS: &str = "pinpoint_exporter_cache_lookups_total";
const HITS: &str = "pinpoint_exporter_cache_hits_total";

/// The counters of an answer are read one after the other, while attempts go on. When all is quiet there is no such excuse.
const MOVING: u64 = 16;

/// Our clock and the API's read whole milliseconds.
const ROUNDING: i64 = 20;

/// What the exporter was told, as far as the judge must know it.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) bounds: Bounds,
    pub(crate) max_staleness: Duration,
    pub(crate) refresh_timeout: Duration,
    pub(crate) max_attempts: usize,
    /// Whether bytes can be damaged on the way: an error may then bear any name.
    pub(crate) damages: bool,
    /// Whether the exporter can fail without any failure that the API knows of.
    pub(crate) fails_unseen: bool,
}

/// What was known when a scrape was sent.
#[derive(Debug)]
pub(crate) struct Before {
    sent: i64,
    floor: Arc<BTreeMap<Key, f64>>,
    requests: BTreeMap<&'static str, u64>,
}

/// Checks the responses of one run of the exporter.
pub(crate) struct Judge {
    pub(crate) recorder: Arc<Recorder>,
    targets: Vec<Target>,
    rules: Rules,
    /// Counters as they were in answers that are whole.
    floor: Mutex<Arc<BTreeMap<Key, f64>>>,
    /// How wrong the exporter's date may have been, in milliseconds: from when until when.
    wrong: Mutex<Vec<(i64, i64, i64)>>,
    /// What listings look like, by target, instant, and date of the refresh.
    expected: Mutex<HashMap<(usize, i64, i64), Arc<Series>>>,
    starvation: Arc<Starvation>,
}

/// What a scrape shows of a target.
#[derive(Debug, Default)]
struct Shown {
    up: Option<f64>,
    errors: Vec<String>,
    last_success: Option<f64>,
    data: Series,
}

impl Judge {
    pub(crate) fn new(
        recorder: Arc<Recorder>,
        targets: Vec<Target>,
        rules: Rules,
        starvation: Arc<Starvation>,
    ) -> Self {
        Self {
            recorder,
            targets,
            rules,
            floor: Mutex::default(),
            wrong: Mutex::new(vec![(i64::MIN, i64::MAX, 0)]),
            expected: Mutex::default(),
            starvation,
        }
    }

    pub(crate) fn now(&self) -> i64 {
        self.starvation.now()
    }

    /// The exporter's date is about to become wrong by so much, or to be right.
    pub(crate) fn date_turns(&self, by: i64) {
        lock(&self.wrong).push((self.now(), i64::MAX, by));
    }

    /// It is so now, and is no more as it was before.
    pub(crate) fn date_has_turned(&self) {
        let now = self.now();
        let mut wrong = lock(&self.wrong);
        let last = wrong.len() - 1;
        wrong[..last].iter_mut().for_each(|(_, until, _)| *until = now.min(*until));
    }

    /// To be called before a scrape is sent.
    pub(crate) fn before(&self) -> Before {
        Before { floor: lock(&self.floor).clone(), requests: self.recorder.counts(), sent: self.now() }
    }

    /// Judges an answer of `/metrics`. Gives what is in it, and adds what is wrong with it.
    pub(crate) fn judge(&self, before: &Before, answer: &Answer, wrong: &mut Vec<String>) -> Option<Scrape> {
        judge_secrets(&answer.text, "an answer", wrong);
        if answer.status != 200 {
            wrong.push(format!("a scrape is answered with status {}", answer.status));
            return None;
        }
        let content_type = answer.headers.iter().find(|(name, _)| name == "content-type");
        if content_type.is_none_or(|(_, value)| value != "text/plain; version=0.0.4; charset=utf-8") {
            wrong.push(format!("the content type is {content_type:?}"));
        }
        match text_format::parse(&answer.text) {
            Err(problem) => {
                wrong.push(format!("not the text format: {problem}"));
                None
            }
            Ok(scrape) => {
                self.judge_counters(before, &scrape, wrong);
                self.judge_equation(before, &scrape, wrong);
                self.judge_targets(before, &scrape, wrong);
                Some(scrape)
            }
        }
    }

    /// No counter goes back.
    fn judge_counters(&self, before: &Before, scrape: &Scrape, wrong: &mut Vec<String>) {
        let mut counters: BTreeMap<Key, f64> = BTreeMap::new();
        for family in scrape.families.iter().filter(|family| family.kind != "gauge") {
            for sample in &family.samples {
                counters.insert(key(sample), sample.value);
            }
        }
        for (key, floor) in &*before.floor {
            match counters.get(key) {
                // Those of the process are read from files, for which there may be no descriptor.
                None if key.0.starts_with("process_") => {}
                None => wrong.push(format!("a counter is gone: {key:?}")),
                Some(value) if value < floor => {
                    wrong.push(format!("a counter goes back from {floor} to {value}: {key:?}"));
                }
                Some(_) => {}
            }
        }
        let mut held = lock(&self.floor);
        let mut floor = BTreeMap::clone(&held);
        for (key, value) in counters {
            let known = floor.entry(key).or_insert(value);
            *known = known.max(value);
        }
        *held = Arc::new(floor);
        let value = |name| scrape.value(name, &[]).unwrap_or(f64::NAN);
        if value(HITS).partial_cmp(&value(LOOKUPS)).is_none_or(Ordering::is_gt) {
            wrong.push(format!("{} hits in {} lookups", value(HITS), value(LOOKUPS)));
        }
    }

    /// Attempts, errors, and what the API knows of both.
    fn judge_equation(&self, before: &Before, scrape: &Scrape, wrong: &mut Vec<String>) {
        let answered = self.recorder.answered_errors();
        for operation in ["GetApps", "GetSegments", "GetSegmentExportJobs", "GetExportJobs"] {
            let labels = [("operation", operation)];
            let count = Count::of(scrape, operation);
            let seen = before.requests.get(operation).copied().unwrap_or(0);
            if count.requests < seen {
                wrong.push(format!("{operation}: {} requests are counted, {seen} came", count.requests));
            }
            let most = count.requests + MOVING;
            if count.errors > most || count.ended > most || scrape.sum(RETRIES, &labels) > most {
                wrong.push(format!("{operation}: the counters contradict each other: {count:?}"));
            }
            for sample in scrape.samples(ERRORS, &labels) {
                let exception = sample.labels.get("exception").map_or("", String::as_str);
                let answered =
                    answered.iter().find(|((of, label), _)| *of == operation && *label == exception);
                let answered = answered.map_or(0, |(_, count)| *count);
                let unseen =
                    self.rules.damages || WITHOUT_ANSWER.contains(&exception) || exception == "Other";
                if !unseen && count_of(sample) > answered {
                    let value = sample.value;
                    wrong.push(format!(
                        "{operation}: {value} errors {exception} are counted, {answered} were answered"
                    ));
                }
            }
        }
    }

    /// The same to the last one, when all is quiet and nothing was lost on the way.
    pub(crate) fn judge_account(&self, scrape: &Scrape, wrong: &mut Vec<String>) {
        for (operation, outcomes) in self.recorder.outcomes() {
            let count = Count::of(scrape, operation);
            let all: u64 = outcomes.values().sum();
            let of = |outcome| outcomes.get(&outcome).copied().unwrap_or(0);
            let error = |exception| scrape.sum(ERRORS, &[("operation", operation), ("exception", exception)]);
            // On a busy machine anything can be late, and what is late may not even have come.
            let late = error("Timeout").saturating_sub(of(Outcome::Late));
            let mut expect = |what: &str, counted: u64, least: u64, most: u64| {
                if !(least..=most).contains(&counted) {
                    wrong.push(format!("{operation}: {counted} {what}, and it must be {least} to {most}"));
                }
            };
            expect("requests", count.requests, all, all + error("Timeout"));
            expect("timeouts", error("Timeout"), of(Outcome::Late), u64::MAX);
            let broken = error("InvalidResponse") + error("ConnectionError") + error("TlsError");
            let (least, either) = (of(Outcome::Broken), of(Outcome::CleanOrBroken));
            expect("broken answers", broken, least.saturating_sub(late), least + either);
            let (least, clean) = (of(Outcome::Clean), count.requests.saturating_sub(count.errors));
            expect("clean answers", clean, least.saturating_sub(late), least + either);
            for (outcome, answered) in &outcomes {
                if let Outcome::Answered(label) = outcome {
                    expect(label, error(label), answered.saturating_sub(late), *answered);
                }
            }
        }
    }

    fn judge_targets(&self, before: &Before, scrape: &Scrape, wrong: &mut Vec<String>) {
        let mut shown: Vec<Shown> = self.targets.iter().map(|_| Shown::default()).collect();
        let mut series = 0;
        for sample in scrape.families.iter().flat_map(|family| &family.samples) {
            let name = sample.name.as_str();
            let of = |prefix| name.starts_with(prefix);
            if of("pinpoint_discovery_") {
                series += 1;
            }
            if ["pinpoint_segment_info", "pinpoint_application_info"].contains(&name) {
                wrong.extend(wrong_name(sample).filter(|_| !self.rules.damages));
                continue;
            }
            if !of("pinpoint_export_job_") && !of("pinpoint_segment_") && !of("pinpoint_target_") {
                continue;
            }
            series += 1;
            let label = |name: &str| sample.labels.get(name).map_or("", String::as_str);
            let target = self.targets.iter().position(|target| {
                target.application == label("application_id")
                    && target.segment.as_ref().is_none_or(|segment| segment == label("segment_id"))
            });
            let Some(shown) = target.and_then(|target| shown.get_mut(target)) else {
                wrong.push(format!("a series of no target: {sample:?}"));
                continue;
            };
            match name {
                "pinpoint_target_up" => shown.up = Some(sample.value),
                "pinpoint_target_error" => shown.errors.push(label("exception").to_owned()),
                "pinpoint_target_last_success_timestamp_seconds" => shown.last_success = Some(sample.value),
                "pinpoint_target_refresh_duration_seconds" => {}
                _ => drop(shown.data.insert(key(sample), sample.value)),
            }
        }
        if scrape.value("pinpoint_exporter_series", &[]) != Some(f64::from(series)) {
            let said = scrape.value("pinpoint_exporter_series", &[]);
            wrong.push(format!("{series} series are said to be {said:?}"));
        }
        let listings = self.recorder.listings();
        let none = Listings::default();
        for (number, (target, shown)) in self.targets.iter().zip(&shown).enumerate() {
            let of_target = listings.get(&(target.application.to_owned(), target.segment.clone()));
            if let Err(problem) = self.judge_target(number, before.sent, of_target.unwrap_or(&none), shown) {
                wrong.push(format!("{target:?}: {problem}"));
            }
        }
    }

    fn judge_target(
        &self,
        number: usize,
        sent: i64,
        listings: &Listings,
        shown: &Shown,
    ) -> Result<(), String> {
        let Some(up) = shown.up else {
            let is_empty = shown.data.is_empty() && shown.errors.is_empty() && shown.last_success.is_none();
            return if is_empty { Ok(()) } else { Err(format!("it shows something, and no up: {shown:?}")) };
        };
        let is_up = up.to_bits() == 1_f64.to_bits();
        match &shown.errors[..] {
            [] if is_up => {}
            [error] if !is_up => {
                let needs_no_answer = WITHOUT_ANSWER.contains(&error.as_str()) || error == "Other";
                if !needs_no_answer && !self.rules.damages && !listings.errors.contains(error.as_str()) {
                    return Err(format!("its error is {error}, which was never answered"));
                }
            }
            errors => return Err(format!("up is {up}, and its errors are {errors:?}")),
        }
        match (shown.data.is_empty(), shown.errors.first()) {
            (true, None) => Err("it is up, and shows no data".to_owned()),
            (true, Some(_)) => Ok(()),
            (false, error) => self.judge_instants(number, sent, listings, shown, |instant| match error {
                None => self.judge_success(number, sent, listings, instant),
                Some(error) => self.judge_failure(listings, instant, error),
            }),
        }
    }

    /// It is up: no refresh can have ended since the one that read the jobs of this instant.
    fn judge_success(
        &self,
        number: usize,
        sent: i64,
        listings: &Listings,
        instant: i64,
    ) -> Result<(), String> {
        // A segment that went and came back may have a refresh of its former self under way.
        let lives = if self.targets[number].application == CHANGING { 2 } else { 1 };
        let most = lives * self.rules.max_attempts;
        let since = listings.begun_since(instant);
        // On a starved machine, the API can read a request after the exporter has given it up and made another one.
        let begun = since.filter(|at| *at > instant && *at < sent);
        let begun: Vec<_> = begun.filter(|at| *at - self.starvation.delay_at(*at) > instant).collect();
        if begun.len() > most {
            let begun = begun.len();
            return Err(format!("it is up, though {begun} attempts at a later refresh have been made"));
        }
        let longest = |at| milliseconds(self.rules.refresh_timeout + self.starvation.since(at)) + 10_000;
        match begun.iter().find(|at| sent - **at > longest(**at)) {
            Some(at) => {
                Err(format!("it is up, though a refresh began {} ms ago and was not good", sent - at))
            }
            None => Ok(()),
        }
    }

    /// It is not up: a refresh must have begun since the one that read the jobs of this instant.
    fn judge_failure(&self, listings: &Listings, instant: i64, error: &str) -> Result<(), String> {
        if !self.rules.fails_unseen && error != "Timeout" && listings.begun_since(instant).count() <= 1 {
            return Err(format!("it is not up ({error}), though its last refresh was good"));
        }
        Ok(())
    }

    /// Judges what is said of the last refresh by the instants whose jobs are shown. Listings of several instants may look the
    /// same, and all of them may fit a date that has jumped: what is said must be true of one.
    fn judge_instants(
        &self,
        number: usize,
        sent: i64,
        listings: &Listings,
        shown: &Shown,
        judge: impl Fn(i64) -> Result<(), String>,
    ) -> Result<(), String> {
        let Some(date) = shown.last_success.map(|seconds| whole(seconds * 1000.0)) else {
            return Err("it shows data, and no last success".to_owned());
        };
        let is_it = |instant: i64| *self.expected(number, instant, date) == shown.data;
        let oldest = sent - milliseconds(self.rules.max_staleness) - ROUNDING;
        // The nearest to the start of the refresh first.
        let mut young: Vec<i64> = listings.shown.range(oldest..).map(|(instant, _)| *instant).collect();
        let wrong = lock(&self.wrong).clone();
        young.sort_by_cached_key(|instant| wrong.iter().map(|(.., by)| (instant - (date - by)).abs()).min());
        // What the exporter says of the age must be true as well.
        let longest = milliseconds(self.rules.refresh_timeout) + 20_000;
        let lost = |from| milliseconds(self.starvation.since(from));
        let is_true = |instant: i64| {
            wrong.iter().any(|(from, until, by)| {
                let began = date - by;
                let later = instant - began;
                later >= -ROUNDING
                    && (later <= longest || later <= longest + lost(began))
                    && *from <= instant
                    && began - ROUNDING <= *until
            })
        };
        let mut problem = None;
        for instant in young.iter().copied().filter(|instant| is_true(*instant) && is_it(*instant)) {
            match judge(instant) {
                Ok(()) => return Ok(()),
                Err(of_this) => drop(problem.get_or_insert(of_this)),
            }
        }
        if let Some(problem) = problem {
            return Err(problem);
        }
        if young.iter().any(|instant| is_it(*instant)) {
            return Err(format!("the last success is said to be at {date}, which is not true"));
        }
        if let Some(old) =
            listings.shown.range(..oldest).rev().map(|(instant, _)| *instant).find(|at| is_it(*at))
        {
            return Err(format!("it shows data of {} ms ago, older than MAX_STALENESS", sent - old));
        }
        let nearest = young.first().map(|instant| self.expected(number, *instant, date));
        let nearest = nearest.unwrap_or_default();
        Err(format!(
            "it shows what never was, of {} instants; {}",
            young.len(),
            difference(&nearest, &shown.data)
        ))
    }

    fn expected(&self, number: usize, instant: i64, date: i64) -> Arc<Series> {
        if let Some(known) = lock(&self.expected).get(&(number, instant, date)) {
            return Arc::clone(known);
        }
        let target = &self.targets[number];
        let items = self.recorder.items(target, instant);
        let made =
            model::series(target.application, target.segment.as_deref(), &items, date, self.rules.bounds);
        let made = Arc::new(made);
        let mut expected = lock(&self.expected);
        if expected.len() > 4_000 {
            expected.clear();
        }
        expected.insert((number, instant, date), Arc::clone(&made));
        made
    }

    /// When all is well again: what is missing for everything that there is to be up, and nothing else to be shown. `well` are the
    /// targets that have been as they must be. On a busy machine data can be too old by the time that all are read: then it is enough
    /// that they were read `since`, by the exporter's date.
    pub(crate) fn judge_calm(
        &self,
        scrape: &Scrape,
        gone: &BTreeSet<String>,
        since: i64,
        well: &mut BTreeSet<Target>,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        for target in &self.targets {
            let segment = target.segment.as_deref().unwrap_or("");
            let labels = [("application_id", target.application), ("segment_id", segment)];
            let up = scrape.value("pinpoint_target_up", &labels);
            let is_gone = target.application == CHANGING && gone.contains(segment);
            let expected = if is_gone { None } else { Some(1.0) };
            let read = scrape.value("pinpoint_target_last_success_timestamp_seconds", &labels);
            let was_read = read.is_some_and(|seconds| whole(seconds * 1000.0) > since);
            let too_old = scrape.value("pinpoint_target_error", &labels_with_timeout(&labels)).is_some();
            if up == expected || (!is_gone && too_old && was_read) {
                well.insert(target.clone());
            } else if is_gone || !well.contains(target) {
                let error = scrape.samples("pinpoint_target_error", &labels);
                let error = error.first().map(|sample| &sample.labels["exception"]);
                wrong.push(format!("{target:?}: up is {up:?} and must be {expected:?} ({error:?})"));
            }
            if is_gone && !scrape.samples("pinpoint_segment_export_jobs", &labels).is_empty() {
                wrong.push(format!("{target:?} is deleted, and shown"));
            }
        }
        let changing = self.targets.iter().filter(|target| target.application == CHANGING);
        for segment in changing.filter_map(|target| target.segment.as_deref()) {
            let named = scrape.samples("pinpoint_segment_info", &[]);
            let named = named.iter().filter(|sample| sample.labels["segment_id"] == segment).count();
            let expected = usize::from(!gone.contains(segment));
            if named != expected {
                wrong.push(format!("{segment:?} has {named} names and must have {expected}"));
            }
        }
        for sample in scrape.samples("pinpoint_discovery_up", &[]) {
            if sample.value.to_bits() != 1_f64.to_bits() {
                wrong.push(format!("{sample:?}, and all is well"));
            }
        }
        for operation in ["GetSegments", "GetSegmentExportJobs", "GetExportJobs"] {
            let count = Count::of(scrape, operation);
            if count.ended != count.requests {
                wrong.push(format!("{operation}: requests are under way: {count:?}"));
            }
        }
        wrong
    }
}

/// What is wrong with a series of a name: those of the application whose segments are listed are known, and no others.
fn wrong_name(sample: &Sample) -> Option<String> {
    let label = |name: &str| sample.labels.get(name).map_or("", String::as_str);
    let (segment, shown) = (label("segment_id"), label("segment_name"));
    let is_known = sample.name == "pinpoint_segment_info"
        && label("application_id") == CHANGING
        && label("segment_type") == "DIMENSIONAL"
        && sample.value.to_bits() == 1_f64.to_bits()
        && (0..world::NAMES).any(|number| shown == world::name(segment, number));
    (!is_known).then(|| format!("a name that nothing had: {sample:?}"))
}

fn labels_with_timeout<'a>(labels: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    labels.iter().copied().chain([("exception", "Timeout")]).collect()
}

/// No secret stands in a text.
pub(crate) fn judge_secrets(text: &str, what: &str, wrong: &mut Vec<String>) {
    for secret in SECRETS {
        if let Some(at) = text.find(secret) {
            let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
            let line = text[line..].lines().next().unwrap_or_default();
            wrong.push(format!("a secret stands in {what}: {line}"));
        }
    }
}

/// The counters of an operation.
#[derive(Debug)]
struct Count {
    requests: u64,
    /// Those of attempts.
    errors: u64,
    /// Attempts that have ended.
    ended: u64,
}

impl Count {
    fn of(scrape: &Scrape, operation: &str) -> Self {
        let labels = [("operation", operation)];
        let without = [("operation", operation), ("exception", "CredentialsError")];
        Self {
            requests: scrape.sum(REQUESTS, &labels),
            errors: scrape.sum(ERRORS, &labels).saturating_sub(scrape.sum(ERRORS, &without)),
            ended: scrape.sum(ENDED, &labels),
        }
    }
}

fn key(sample: &Sample) -> Key {
    (sample.name.clone(), sample.labels.clone())
}

/// The first few differences.
fn difference(expected: &Series, shown: &Series) -> String {
    let missing = expected.iter().filter(|(key, _)| !shown.contains_key(*key));
    let missing = missing.map(|(key, value)| format!("missing {key:?} {value}"));
    let other = shown.iter().filter(|(key, value)| expected.get(*key) != Some(value));
    let other = other.map(|(key, value)| format!("{key:?} {value} and not {:?}", expected.get(key)));
    let all: Vec<String> = other.chain(missing).collect();
    let few = all[..all.len().min(3)].join("; ");
    format!("{} differences to the nearest: {few}", all.len())
}

#[expect(clippy::cast_possible_truncation, reason = "dates in milliseconds")]
fn whole(number: f64) -> i64 {
    number.round() as i64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counters of a test")]
fn count_of(sample: &Sample) -> u64 {
    sample.value as u64
}

#[cfg(test)]
mod tests {
    use fake_pinpoint::world::World;

    use super::*;

    /// A judge of one target on a machine that lost two minutes until 200 s.
    fn judge() -> Judge {
        let rules = Rules {
            bounds: Bounds { max_age: 0, per_segment: 1, current_status_only: false },
            max_staleness: Duration::from_secs(5),
            refresh_timeout: Duration::from_secs(1),
            max_attempts: 1,
            damages: false,
            fails_unseen: false,
        };
        let target = Target { application: world::FIXED, segment: Some("plain".to_owned()) };
        let recorder = Arc::new(Recorder::new(World::default(), 10));
        Judge::new(recorder, vec![target], rules, Starvation::once(200_000, 120_000))
    }

    /// Judges a target that is up and shows the jobs of this instant, when its listing was read at these times.
    fn judge_success(instant: i64, begun: &[i64]) -> Result<(), String> {
        let listings = Listings { begun: begun.to_vec(), ..Listings::default() };
        judge().judge_success(0, begun.iter().max().unwrap() + 1, &listings, instant)
    }

    #[test]
    fn requests_that_a_starved_machine_read_late_belong_to_no_later_refresh() {
        // The exporter sent two of these requests before the machine stopped for two minutes, and gave them up.
        assert_eq!(judge_success(200_000, &[200_000, 200_001, 200_002]), Ok(()));
        for (instant, begun) in [(60_000, [60_000, 60_001, 60_002]), (230_000, [230_000, 230_001, 230_002])] {
            let problem = judge_success(instant, &begun).unwrap_err();
            assert!(problem.contains("2 attempts at a later refresh"), "{problem}");
        }
    }

    #[test]
    fn a_refresh_may_take_longer_by_the_time_that_the_machine_lost() {
        let judge = judge();
        let listings = |at| Listings { begun: vec![at], ..Listings::default() };
        assert_eq!(judge.judge_success(0, 200_000, &listings(75_000), 70_000), Ok(()));
        let problem = judge.judge_success(0, 207_500, &listings(75_000), 70_000).unwrap_err();
        assert!(problem.contains("a refresh began 132500 ms ago"), "{problem}");
    }
}
