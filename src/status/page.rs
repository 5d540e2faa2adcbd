//! The view as a page: HTML that needs neither scripts nor any other file.

use std::sync::LazyLock;

use aws_smithy_types::base64;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::{
    ListState, Reading, TargetState,
    age::{from_now, short, utc},
    query::{Key, Number, Query, Sort},
    view::{JobRow, Page, SegmentRow, View},
    words::{counted, found},
};
use crate::{
    config::Effective,
    job::{JobStatus, Timestamp},
    target::Target,
    version,
};

const STYLE: &str = include_str!("page.css");

/// Where the documentation and the runbooks are.
const HOME: &str = "https://github.com/pinpoint-exporter/pinpoint-exporter";

pub(super) static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = base64::encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
});

fn document(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    page.into_string()
}

/// What is wrong with the query.
pub(super) fn problem(problem: &str) -> String {
    document(
        "pinpoint-exporter: not understood",
        &html! {
            main {
                h1 { "Not understood" }
                p { (visible(problem)) }
                p { a href="?" { "Show everything" } }
            }
        },
    )
}

pub(super) fn page(view: &View<'_>, query: &Query, settings: &[Effective]) -> String {
    document(
        "pinpoint-exporter",
        &html! {
            header {
                h1 { "pinpoint-exporter" }
                p { "Export jobs of Amazon Pinpoint's segments, as the exporter sees them. Version " (version::VERSION) "." }
                nav aria-label="Sections" {
                    a href="#targets" { "Targets" } " " a href="#segments" { "Segments" } " "
                    a href="#jobs" { "Jobs" } " " a href="#settings" { "Settings" }
                }
            }
            main {
                (totals(view))
                (filter(query))
                @if !view.lists.is_empty() { (lists(view)) }
                (targets(view, query))
                (segments(view, query))
                (jobs(view, query))
                (self::settings(settings))
            }
            footer {
                nav aria-label="Links" {
                    a href="metrics" { "Metrics" } " " a href="api/v1/jobs" { "The same as JSON" } " "
                    a href="-/healthy" { "Healthy" } " " a href="-/ready" { "Ready" } " "
                    a href={ (HOME) "#readme" } { "Documentation" } " "
                    a href={ (HOME) "/tree/main/deploy/runbooks" } { "Runbooks" }
                }
                p { "As of " (date(Some(view.now), view.now)) ". Revision " (version::REVISION) "." }
            }
        },
    )
}

fn totals(view: &View<'_>) -> Markup {
    let totals = &view.totals;
    let failing = totals.targets - totals.up - totals.waiting;
    let number = |class: &str, number: usize, what: &str| {
        html! { li class=(class) { strong { (number) } " " (what) } }
    };
    html! {
        ul.totals aria-label="Summary" {
            (number(if failing > 0 { "bad" } else { "good" }, failing, "failing"))
            (number("", totals.up, "up"))
            @if totals.waiting > 0 { (number("", totals.waiting, "not read yet")) }
            (number("", totals.segments, if totals.segments == 1 { "segment" } else { "segments" }))
            (number(
                if totals.failed_segments > 0 { "bad" } else { "good" },
                totals.failed_segments,
                "whose newest export failed",
            ))
            (number("", totals.active_jobs, "running"))
            @for (status, jobs) in &totals.jobs { (number("small", *jobs, status)) }
        }
    }
}

fn filter(query: &Query) -> Markup {
    let states = JobStatus::KNOWN.into_iter().chain([JobStatus::Unknown]);
    html! {
        form.filter role="search" {
            label { "Application " input name="application" value=[&query.application] size="32"; }
            label { "Segment " input name="segment" value=[&query.segment] size="32"; }
            label {
                "Status "
                select name="status" {
                    option value="" { "any" }
                    @for status in states {
                        option value=(status.as_str()) selected[query.statuses.contains(&status)] { (status.as_str()) }
                    }
                }
            }
            @if query.sort != Sort::default() { input type="hidden" name="sort" value=(query.sort); }
            button { "Show" }
            @if *query != Query::default() { a href="?" { "Show everything" } }
        }
    }
}

fn lists(view: &View<'_>) -> Markup {
    table(
        "lists",
        "Lists",
        &html! {
            tr {
                th scope="col" { "Account" } th scope="col" { "Region" } th scope="col" { "List" }
                th scope="col" { "State" } th scope="col" { "Read" } th scope="col" { "Next" }
            }
        },
        &html! {
            @for ListState { catalog, found: ids, reading } in view.lists {
                @let what = if catalog.application_id.is_some() { "segment" } else { "application" };
                tr {
                    td data-label="Account" { (or_dash(&catalog.account_id)) }
                    td data-label="Region" { (catalog.region) }
                    td data-label="List" {
                        @match &catalog.application_id {
                            Some(id) => { "segments of " (name(id)) }
                            None => { "applications" }
                        }
                    }
                    td data-label="State" { (state(reading.as_ref(), &found(ids.unwrap_or(0), what))) }
                    (times(reading.as_ref(), reading.as_ref().map(|it| it.began), view.now))
                }
            }
        },
    )
}

fn targets(view: &View<'_>, query: &Query) -> Markup {
    let body = html! {
        @for target in &view.targets.rows {
            @let TargetState { target: Target { account_id, region, application_id, segment_id }, reading, data } = target;
            @let shown = target.segments().map(|segments| segments.iter().map(|it| it.jobs.len()).sum());
            tr {
                td data-label="Account" { (or_dash(account_id)) }
                td data-label="Region" { (region) }
                td data-label="Application" { (application(query, application_id)) }
                td data-label="Segment" {
                    @match segment_id {
                        Some(id) => { (segment(query, application_id, id)) }
                        None => { "all" }
                    }
                }
                td data-label="State" {
                    @if reading.as_ref().is_some_and(|it| it.error.is_none()) && shown.is_none() {
                        span.bad { "Timeout: the data are too old to be shown" }
                    } @else {
                        (state(reading.as_ref(), &found(shown.unwrap_or(0), "job")))
                    }
                }
                (times(reading.as_ref(), data.as_ref().map(|(as_of, _)| *as_of), view.now))
            }
        }
    };
    let head = html! {
        tr {
            th scope="col" { "Account" } th scope="col" { "Region" } th scope="col" { "Application" }
            th scope="col" { "Segment" } th scope="col" { "State" } th scope="col" { "Data as of" }
            th scope="col" { "Next" }
        }
    };
    listing("targets", "Targets", &head, &body, &view.targets, |page| query.link(|it| it.targets_page = page))
}

/// What became of the last reading.
fn state(reading: Option<&Reading>, good: &str) -> Markup {
    match reading.map(|reading| &reading.error) {
        None => html! { "not read yet" },
        Some(None) => html! { span.good { (good) } },
        Some(Some(error)) => html! { span.bad { (visible(&error.to_string())) } },
    }
}

/// When the data are from, and when they will be read anew.
fn times(reading: Option<&Reading>, as_of: Option<Timestamp>, now: Timestamp) -> Markup {
    html! {
        td data-label="As of" {
            (date(as_of, now))
            @if let Some(reading) = reading { " " small { "took " (short(reading.took)) } }
        }
        td data-label="Next" {
            @match reading.map(|reading| reading.next) {
                Some(next) if next > now => { (from_now(next, now)) }
                _ => { "with the next scrape" }
            }
        }
    }
}

fn segments(view: &View<'_>, query: &Query) -> Markup {
    let now = view.now;
    let body = html! {
        @for SegmentRow { target, segment: it } in &view.segments.rows {
            tr {
                td data-label="Application" { (application(query, &target.application_id)) }
                td data-label="Segment" { (segment(query, &target.application_id, &it.id)) }
                td data-label="Newest export" {
                    @match it.latest {
                        Some(latest) => { (status(latest.status)) " " (date(latest.created, now)) }
                        None => { "never exported" }
                    }
                }
                td data-label="Last completed" { (date(it.last_completed, now)) }
                td data-label="Last failed" { (date(it.last_failed, now)) }
                td data-label="Jobs" {
                    (counted(it.jobs.len(), "job"))
                    @let left_out = it.suppressed_by_age + it.suppressed_by_count;
                    @if left_out > 0 { ", and " (left_out) " older" }
                }
            }
        }
    };
    let head = html! {
        tr {
            th scope="col" { "Application" } th scope="col" { "Segment" } th scope="col" { "Newest export" }
            th scope="col" { "Last completed" } th scope="col" { "Last failed" } th scope="col" { "Jobs" }
        }
    };
    listing("segments", "Segments", &head, &body, &view.segments, |page| {
        query.link(|it| it.segments_page = page)
    })
}

fn jobs(view: &View<'_>, query: &Query) -> Markup {
    let sorted = |key: Key, label: &str| {
        let now = query.sort.key == key;
        // What grows is asked for from its end first.
        let first = !matches!(key, Key::Application | Key::Segment | Key::Status);
        let descending = if now { !query.sort.descending } else { first };
        let order = match (now, query.sort.descending) {
            (false, _) => None,
            (true, false) => Some("ascending"),
            (true, true) => Some("descending"),
        };
        html! {
            th scope="col" aria-sort=[order] {
                a href={ (query.link(|it| it.sort = Sort { key, descending })) "#jobs" } { (label) }
            }
        }
    };
    let head = html! {
        tr {
            (sorted(Key::Application, "Application")) (sorted(Key::Segment, "Segment")) th scope="col" { "Job" }
            (sorted(Key::Status, "Status")) th scope="col" { "Progress" } (sorted(Key::Processed, "Processed"))
            (sorted(Key::Failed, "Failed")) (sorted(Key::Created, "Created")) (sorted(Key::Completed, "Completed"))
        }
    };
    let body = html! { @for row in &view.jobs.rows { (job(row, query, view.now)) } };
    listing("jobs", "Jobs", &head, &body, &view.jobs, |page| query.link(|it| it.page = page))
}

fn job(JobRow { target, job }: &JobRow<'_>, query: &Query, now: Timestamp) -> Markup {
    let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    html! {
        tr {
            td data-label="Application" { (application(query, &target.application_id)) }
            td data-label="Segment" {
                @if job.segment_id.is_empty() { "all endpoints" }
                @else { (segment(query, &target.application_id, &job.segment_id)) }
            }
            td data-label="Job" {
                (name(&job.id))
                @if let Some(prefix) = &job.s3_url_prefix { br; small { (name(prefix)) } }
            }
            td data-label="Status" { (status(job.status)) }
            td data-label="Progress" {
                @match (job.completed_pieces, job.total_pieces) {
                    (Some(done), Some(all)) if all > 0 && done >= 0 => {
                        progress max=(all) value=(done.min(all)) aria-label={ "pieces of job " (visible(&job.id)) } {}
                        " " small {
                            (done) " of " (counted(usize::try_from(all).unwrap_or(usize::MAX), "piece"))
                            @if let Some(failed @ 1..) = job.failed_pieces { ", " (failed) " failed" }
                        }
                    }
                    _ => { "-" }
                }
            }
            td.number data-label="Processed" { (number(job.total_processed)) }
            td.number data-label="Failed" {
                @if job.total_failures.is_some_and(|failed| failed > 0) { span.bad { (number(job.total_failures)) } }
                @else { (number(job.total_failures)) }
            }
            td data-label="Created" { (date(job.creation_date, now)) }
            td data-label="Completed" { (date(job.completion_date, now)) }
        }
        @if !job.failures.is_empty() {
            tr.failures {
                td colspan="9" {
                    details {
                        summary { (counted(job.failures.len(), "message")) " about failed endpoints" }
                        ul { @for failure in &job.failures { li { (visible(failure)) } } }
                    }
                }
            }
        }
    }
}

fn settings(settings: &[Effective]) -> Markup {
    table(
        "settings",
        "Settings",
        &html! { tr { th scope="col" { "Variable" } th scope="col" { "Value" } th scope="col" { "From" } } },
        &html! {
            @for Effective { variable, value, source } in settings {
                tr {
                    td data-label="Variable" { code { (variable) } }
                    td data-label="Value" { @if value.is_empty() { "-" } @else { (name(value)) } }
                    td data-label="From" { (source) }
                }
            }
        },
    )
}

fn table(id: &str, title: &str, head: &Markup, body: &Markup) -> Markup {
    html! {
        section id=(id) aria-labelledby={ (id) "-title" } {
            h2 id={ (id) "-title" } { (title) }
            table { thead { (head) } tbody { (body) } }
        }
    }
}

/// A table of which one page is shown.
fn listing<T>(
    id: &str,
    title: &str,
    head: &Markup,
    body: &Markup,
    page: &Page<T>,
    link: impl Fn(Number) -> String,
) -> Markup {
    let to = |number: usize| format!("{}#{id}", link(Number(number)));
    html! {
        section id=(id) aria-labelledby={ (id) "-title" } {
            h2 id={ (id) "-title" } { (title) " " small { (page.total) } }
            @if page.rows.is_empty() {
                p { "None." @if page.number > 1 { " " a href=(to(1)) { "First page" } } }
            } @else {
                table { thead { (head) } tbody { (body) } }
            }
            @if page.numbers > 1 {
                nav.pages aria-label={ "Pages of " (id) } {
                    @if page.number > 1 {
                        a href=(to(1)) { "First" } " " a rel="prev" href=(to(page.number - 1)) { "Previous" }
                    }
                    span { " Page " (page.number) " of " (page.numbers) " " }
                    @if page.number < page.numbers {
                        a rel="next" href=(to(page.number + 1)) { "Next" } " " a href=(to(page.numbers)) { "Last" }
                    }
                }
            }
        }
    }
}

fn status(status: JobStatus) -> Markup {
    let class = match status {
        JobStatus::Completed => "good",
        JobStatus::Failed | JobStatus::Failing => "bad",
        JobStatus::Unknown => "unknown",
        _ => "active",
    };
    html! { span.status.(class) { (status.as_str()) } }
}

fn application(query: &Query, id: &str) -> Markup {
    let link = query.link(|it| {
        it.application = Some(id.to_owned());
        it.segment = None;
    });
    html! { a href=(link) { (name(id)) } }
}

fn segment(query: &Query, application: &str, id: &str) -> Markup {
    if id.is_empty() {
        return html! { "all endpoints" };
    }
    let link = query.link(|it| {
        it.application = Some(application.to_owned());
        it.segment = Some(id.to_owned());
    });
    html! { a href=(link) { (name(id)) } }
}

fn date(date: Option<Timestamp>, now: Timestamp) -> Markup {
    html! {
        @match date.and_then(|date| Some((date, utc(date)?))) {
            Some((date, text)) => { time { (text) } " " small { (from_now(date, now)) } }
            None => { "-" }
        }
    }
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// A name that somebody gave: it neither reaches into what is beside it nor hides anything.
fn name(text: &str) -> Markup {
    html! { bdi { (visible(text)) } }
}

/// Characters that cannot be seen, or that turn the direction of a text, as their escapes.
fn visible(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|c| if hidden(c) { c.escape_unicode().to_string() } else { c.to_string() }).collect()
}
