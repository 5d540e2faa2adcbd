//! Renders the view as an HTML page without scripts or other files. `parts` renders the cells of its tables.

mod parts;

use std::sync::LazyLock;

use aws_smithy_types::base64;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use self::parts::{
    DISCOVERY_FAILING, Ids, RUNBOOKS, TARGET_DOWN, account_and_region, cell, date, folded, id_cell, name,
    next, number, number_cell, outcome, short_cell, status, took, visible,
};
use super::{
    age::utc,
    query::{Key, Number, Query, Sort},
    view::{JobRow, Page, RowNames, SegmentRow, Totals, View},
};
use crate::{
    config::EffectiveSetting,
    model::{
        job_status::JobStatus,
        overview::{ListState, TargetState},
        plural::{counted, found},
        timestamp::Timestamp,
        version,
    },
};

const STYLE: &str = include_str!("style.css");
const ICON: &str = include_str!("icon.svg");

const HOME: &str = "https://github.com/pinpoint-exporter/pinpoint-exporter";

/// Allows the page's style sheet, icon and form, and nothing else.
pub(super) static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = base64::encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src data:; form-action 'self'; frame-ancestors 'none'; \
         base-uri 'none'"
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
                link rel="icon" href={ "data:image/svg+xml;base64," (base64::encode(ICON)) };
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    page.into_string()
}

/// A page that says what is wrong with the query.
pub(super) fn problem(problem: &str) -> String {
    document(
        "Not understood · pinpoint-exporter",
        &html! {
            main {
                h1 { "Not understood" }
                p { (visible(problem)) }
                p { a href="?" { "Show everything" } }
            }
        },
    )
}

pub(super) fn page(view: &View<'_>, query: &Query, settings: &[EffectiveSetting]) -> String {
    let ids = Ids { query, with_account_and_region: view.only_account_and_region.is_none() };
    let last_error = view.totals.failing() + view.totals.failing_lists;
    let title = if last_error > 0 {
        format!("({last_error}) pinpoint-exporter")
    } else {
        "pinpoint-exporter".to_owned()
    };
    document(
        &title,
        &html! {
            (header(view, query))
            main {
                (totals(&view.totals, query))
                (filter(query))
                (targets(view, ids))
                @if view.lists.total > 0 { (lists(view, ids)) }
                (segments(view, ids))
                (jobs(view, ids))
                (self::settings(settings))
            }
            footer {
                p {
                    "pinpoint-exporter " (version::VERSION) ", revision " (version::REVISION)
                    ". This page shows what is cached: it asks AWS nothing."
                }
            }
        },
    )
}

fn header(view: &View<'_>, query: &Query) -> Markup {
    html! {
        header {
            div {
                h1 { "pinpoint-exporter" }
                p {
                    "Export jobs of Amazon Pinpoint's segments"
                    @if let Some((account_id, region)) = view.only_account_and_region { " in " (account_and_region(account_id, region)) }
                    @if let Some(now) = utc(view.now) { ", as of " time { (now) } " UTC" }
                }
            }
            div {
                nav aria-label="Sections" {
                    ul {
                        li { a href="#targets" { "Targets" } }
                        @if view.lists.total > 0 { li { a href="#lists" { "Lists" } } }
                        li { a href="#segments" { "Segments" } }
                        li { a href="#jobs" { "Jobs" } }
                        li { a href="#settings" { "Settings" } }
                    }
                }
                nav aria-label="Links" {
                    ul {
                        li { a href="metrics" { "Metrics" } }
                        li { a href={ "api/v1/jobs" (query) } { "JSON" } }
                        li { a href="-/healthy" { "Health" } }
                        li { a href="-/ready" { "Readiness" } }
                        li { a href={ (HOME) "#readme" } { "Documentation" } }
                        li { a href={ (RUNBOOKS) "/README.md" } { "Runbooks" } }
                    }
                }
            }
        }
    }
}

impl Totals {
    /// The number of targets that are not up.
    fn failing(&self) -> usize {
        self.targets - self.up - self.waiting
    }
}

fn totals(totals: &Totals, query: &Query) -> Markup {
    let tile = |class: Option<&str>, number: usize, [one, many]: [&str; 2], link: &str| {
        let what = if number == 1 { one } else { many };
        html! { li class=[class] { a href=(link) { strong { (parts::number(Some(number))) } " " (what) } } }
    };
    let whose = |bad: usize| Some(if bad > 0 { "bad" } else { "good" });
    let jobs = |statuses: Vec<JobStatus>| format!("{}#jobs", query.link(|it| it.statuses = statuses));
    let active = jobs(JobStatus::ALL.into_iter().filter(|status| status.is_active()).collect());
    let Totals { up, waiting, failing_lists, segments, failed_segments, active_jobs, .. } = *totals;
    let failing = totals.failing();
    html! {
        ul.tiles aria-label="Summary" {
            (tile(whose(failing), failing, ["target fails", "targets fail"], "#targets"))
            (tile(None, up, ["target is up", "targets are up"], "#targets"))
            @if waiting > 0 { (tile(None, waiting, ["target not read yet", "targets not read yet"], "#targets")) }
            @if failing_lists > 0 { (tile(Some("bad"), failing_lists, ["list fails", "lists fail"], "#lists")) }
            (tile(whose(failed_segments), failed_segments, ["newest export failed", "newest exports failed"], "#segments"))
            (tile(None, segments, ["segment", "segments"], "#segments"))
            (tile(None, active_jobs, ["job runs", "jobs run"], &active))
        }
        @if totals.targets > 0 && totals.waiting == totals.targets {
            p { "Nothing was read yet: the first scrape of " code { "/metrics" } " does that." }
        }
        @if !totals.jobs.is_empty() {
            ul.states aria-label="Jobs by state" {
                @for status in JobStatus::ALL {
                    @if let Some(count) = totals.jobs.get(status.as_str()) {
                        li { a href=(jobs(vec![status])) { (self::status(status)) " " (number(Some(*count))) } }
                    }
                }
            }
        }
    }
}

/// The sort orders that the form offers.
const ORDERS: [(&str, &str); 8] = [
    ("-created", "newest first"),
    ("created", "oldest first"),
    ("-completed", "last completed first"),
    ("-processed", "most processed first"),
    ("-failed", "most failures first"),
    ("status", "by status"),
    ("application", "by application"),
    ("segment", "by segment"),
];

fn filter(query: &Query) -> Markup {
    let sort = query.sort.to_string();
    html! {
        form role="search" aria-label="Filter" {
            label { span { "Application" } input name="application" value=[&query.application] spellcheck="false"; }
            label { span { "Segment" } input name="segment" value=[&query.segment] spellcheck="false"; }
            label { span { "Part of a name" } input name="name" value=[&query.name] spellcheck="false"; }
            label {
                span { "Status of jobs" }
                select name="status" {
                    option value="" { "any" }
                    @for status in JobStatus::ALL {
                        option value=(status.as_str()) selected[query.statuses.contains(&status)] { (status.as_str()) }
                    }
                }
            }
            label {
                span { "Order of jobs" }
                select name="sort" {
                    @for (value, text) in ORDERS { option value=(value) selected[value == sort] { (text) } }
                    @if !ORDERS.iter().any(|(value, _)| *value == sort) { option value=(sort) selected { (sort) } }
                }
            }
            button { "Show" }
            @if *query != Query::default() { a href="?" { "Show everything" } }
        }
        @if query.statuses.len() > 1 {
            p {
                "Jobs that are "
                @for (at, status) in query.statuses.iter().enumerate() {
                    @if at > 0 { ", " }
                    (status.as_str())
                }
                "."
            }
        }
    }
}

fn lists(view: &View<'_>, ids: Ids<'_>) -> Markup {
    let query = ids.query;
    let columns = html! {
        th scope="col" { "List" } th scope="col" { "State" } th scope="col" { "Read, UTC" } th scope="col" { "Took" }
        th scope="col" { "Next" }
    };
    let row = |state: &&ListState| {
        let ListState { list_id, application_name, found: count, reading } = state;
        let what = if list_id.application_id.is_some() { "segment" } else { "application" };
        let (reading, good) = (reading.as_ref(), found(count.unwrap_or(0) as u64, what));
        html! {
            tr {
                (id_cell("List", ids.list(list_id, application_name.as_deref())))
                (cell("State", outcome(reading, state.last_error(), &good, DISCOVERY_FAILING)))
                (cell("Read, UTC", date(reading.map(|it| it.began), view.now)))
                (short_cell("Took", took(reading)))
                (short_cell("Next", next(reading, view.now)))
            }
        }
    };
    listing("lists", "Lists", &columns, &view.lists, row, |page| query.link(|it| it.lists_page = page))
}

fn targets(view: &View<'_>, ids: Ids<'_>) -> Markup {
    let query = ids.query;
    let columns = html! {
        th scope="col" { "Target" } th scope="col" { "State" } th scope="col" { "Data as of, UTC" }
        th scope="col" { "Took" } th scope="col" { "Next refresh" }
    };
    let row = |state: &&TargetState| {
        let TargetState { target, names, reading, data } = state;
        let (reading, good) = (reading.as_ref(), found(state.jobs_listed().unwrap_or(0), "job"));
        html! {
            tr {
                (id_cell("Target", ids.target(target, RowNames::of(names, target.segment_id.as_deref()))))
                (cell("State", outcome(reading, state.last_error().as_deref(), &good, TARGET_DOWN)))
                (cell("Data as of, UTC", date(data.as_ref().map(|(as_of, _)| *as_of), view.now)))
                (short_cell("Took", took(reading)))
                (short_cell("Next refresh", next(reading, view.now)))
            }
        }
    };
    listing("targets", "Targets", &columns, &view.targets, row, |page| {
        query.link(|it| it.targets_page = page)
    })
}

fn segments(view: &View<'_>, ids: Ids<'_>) -> Markup {
    let query = ids.query;
    let now = view.now;
    let columns = html! {
        th scope="col" { "Segment" } th scope="col" { "Newest export" } th scope="col" { "Created, UTC" }
        th scope="col" { "Last completed, UTC" } th scope="col" { "Last failed, UTC" } th.number scope="col" { "Jobs" }
    };
    let row = |SegmentRow { target, names, segment: it }: &SegmentRow<'_>| {
        let newest = html! {
            @match it.latest {
                Some(latest) => { (status(latest.status)) }
                None => { "never exported" }
            }
        };
        let jobs = html! {
            (number(Some(it.listed())))
            @let left_out = it.listed() - it.jobs.len() as u64;
            @if left_out > 0 { " " small { (counted(left_out, "job")) " left out" } }
        };
        html! {
            tr {
                (id_cell("Segment", ids.segment(target, &it.id, *names)))
                (cell("Newest export", newest))
                (cell("Created, UTC", date(it.latest.and_then(|latest| latest.created), now)))
                (cell("Last completed, UTC", date(it.last_completed, now)))
                (cell("Last failed, UTC", date(it.last_failed, now)))
                (number_cell("Jobs", jobs))
            }
        }
    };
    listing("segments", "Segments", &columns, &view.segments, row, |page| {
        query.link(|it| it.segments_page = page)
    })
}

fn jobs(view: &View<'_>, ids: Ids<'_>) -> Markup {
    let query = ids.query;
    let by = |key: Key, text: &str| {
        let now = query.sort.key == key;
        // The first click on a date or number sorts from the largest value.
        let first = !matches!(key, Key::Application | Key::Segment | Key::Status);
        let descending = if now { !query.sort.descending } else { first };
        html! {
            a class=[now.then_some("sorted")] href={ (query.link(|it| it.sort = Sort { key, descending })) "#jobs" } { (text) }
        }
    };
    let order = |keys: &[Key]| {
        let order = if query.sort.descending { "descending" } else { "ascending" };
        keys.contains(&query.sort.key).then_some(order)
    };
    let columns = html! {
        th scope="col" aria-sort=[order(&[Key::Application, Key::Segment])] {
            (by(Key::Segment, "Segment")) " " span.of { "of " (by(Key::Application, "application")) }
        }
        th scope="col" { "Job" }
        th scope="col" aria-sort=[order(&[Key::Status])] { (by(Key::Status, "Status")) }
        th scope="col" { "Pieces" }
        th.number scope="col" aria-sort=[order(&[Key::Processed])] { (by(Key::Processed, "Processed")) }
        th.number scope="col" aria-sort=[order(&[Key::Failed])] { (by(Key::Failed, "Failed")) }
        th scope="col" aria-sort=[order(&[Key::Created])] { (by(Key::Created, "Created")) ", UTC" }
        th scope="col" aria-sort=[order(&[Key::Completed])] { (by(Key::Completed, "Completed")) ", UTC" }
    };
    let row = |row: &JobRow<'_>| job(row, ids, view.now);
    listing("jobs", "Jobs", &columns, &view.jobs, row, |page| query.link(|it| it.page = page))
}

fn job(JobRow { target, names, job }: &JobRow<'_>, ids: Ids<'_>, now: Timestamp) -> Markup {
    let id = html! {
        (name(&job.id))
        @if let Some(prefix) = &job.s3_url_prefix { div { small { (name(prefix)) } } }
    };
    let pieces = html! {
        @match (job.completed_pieces, job.total_pieces) {
            (Some(done), Some(all)) if all > 0 && done >= 0 => {
                progress class=[(done >= all).then_some("all")] max=(all) value=(done.min(all)) aria-label="Pieces" {}
                " " (number(Some(done))) " of " (number(Some(all)))
            }
            (done, all) => { (number(done.or(all))) @if done.is_none() && all.is_some() { " to do" } }
        }
        @if let Some(failed @ 1..) = job.failed_pieces { " " span.lost { (number(Some(failed))) " failed" } }
    };
    let failed = html! {
        @if job.total_failures.is_some_and(|failed| failed > 0) { span.lost { (number(job.total_failures)) } }
        @else { (number(job.total_failures)) }
    };
    html! {
        tr {
            (id_cell("Segment", ids.segment(target, &job.segment_id, *names)))
            (id_cell("Job", id))
            (cell("Status", status(job.status)))
            (cell("Pieces", pieces))
            (number_cell("Processed", number(job.total_processed)))
            (number_cell("Failed", failed))
            (cell("Created, UTC", date(job.creation_date, now)))
            (cell("Completed, UTC", date(job.completion_date, now)))
        }
        @if !job.failures.is_empty() {
            tr.failures {
                td colspan="8" {
                    details {
                        summary { (counted(job.failures.len() as u64, "message")) " about endpoints that failed" }
                        ul { @for failure in &job.failures { li { bdi { (visible(failure)) } } } }
                    }
                }
            }
        }
    }
}

fn settings(settings: &[EffectiveSetting]) -> Markup {
    html! {
        section aria-labelledby="settings" {
            h2 id="settings" { "Settings" }
            table {
                thead { tr { th scope="col" { "Variable" } th scope="col" { "Value" } th scope="col" { "From" } } }
                tbody {
                    @for EffectiveSetting { variable, value, source } in settings {
                        tr {
                            (cell("Variable", html! { code { (variable) } }))
                            (cell("Value", html! { @if value.is_empty() { "-" } @else { (folded(value)) } }))
                            (cell("From", source))
                        }
                    }
                }
            }
        }
    }
}

/// A table that shows one page of its rows.
fn listing<T>(
    id: &str,
    title: &str,
    columns: &Markup,
    page: &Page<T>,
    row: impl Fn(&T) -> Markup,
    link: impl Fn(Number) -> String,
) -> Markup {
    let to = |number: usize| format!("{}#{id}", link(Number(number)));
    html! {
        section aria-labelledby=(id) {
            h2 id=(id) { (title) " " small { (number(Some(page.total))) } }
            @if page.rows.is_empty() {
                p { "None." @if page.number > 1 { " " a href=(to(1)) { "First page" } } }
            } @else {
                table { thead { tr { (columns) } } tbody { @for it in &page.rows { (row(it)) } } }
            }
            @if page.numbers > 1 {
                nav.pages aria-label={ "Pages of " (id) } {
                    @if page.number > 1 {
                        a href=(to(1)) { "First" } " " a rel="prev" href=(to(page.number - 1)) { "Previous" } " "
                    }
                    span { "Page " (page.number) " of " (page.numbers) }
                    @if page.number < page.numbers {
                        " " a rel="next" href=(to(page.number + 1)) { "Next" } " " a href=(to(page.numbers)) { "Last" }
                    }
                }
            }
        }
    }
}
